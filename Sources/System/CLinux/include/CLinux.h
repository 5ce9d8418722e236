// The only C code of the project: what Swift cannot import (function-like macros, ioctl numbers, variadic calls).
#ifndef CLINUX_H
#define CLINUX_H

#include <stdint.h>
#include <sys/types.h>

#include "CLinuxIPMI.h"
#include "CLinuxNetwork.h"
#include "CLinuxSpawn.h"

/// Major and minor number of a device (macros in sys/sysmacros.h).
unsigned clinux_major(dev_t device);
unsigned clinux_minor(dev_t device);

// Every function below returns 0 or the errno of its system call.

/// The size in bytes of the block device (BLKGETSIZE64).
int clinux_block_size(int descriptor, uint64_t *bytes);
/// The logical block size of the block device (BLKSSZGET).
int clinux_logical_block_size(int descriptor, uint32_t *bytes);
/// Whether the block device refuses writes (BLKROGET).
int clinux_block_read_only(int descriptor, int *is_read_only);
/// Makes a range of the block device read as zero (BLKZEROOUT); offsets are multiples of the logical block size.
int clinux_block_zero(int descriptor, uint64_t offset, uint64_t length);
/// Discards a range of the block device (BLKDISCARD).
int clinux_block_discard(int descriptor, uint64_t offset, uint64_t length);
/// Makes a range of a file a hole, which reads as zero (fallocate with FALLOC_FL_PUNCH_HOLE).
int clinux_punch_hole(int descriptor, uint64_t offset, uint64_t length);
/// Opens what a descriptor stands for once more, to be read and written past the kernel's cache (O_DIRECT); the new
/// descriptor is -1 where that is not possible.
int clinux_open_direct(int descriptor, int *direct);
/// Has an NVMe namespace erase its user data in its present format (Format NVM); ENOTTY when it is no NVMe disk,
/// EOPNOTSUPP when the controller refuses.
int clinux_nvme_format(int descriptor);
/// Starts to write dirty pages of a range to the device without waiting (sync_file_range).
int clinux_start_writeback(int descriptor, uint64_t offset, uint64_t length);
/// Reads the partition table anew (BLKRRPART).
int clinux_reread_partitions(int descriptor);

/// The permanent address of a network interface (ETHTOOL_GPERMADDR); `length` is what the driver gave.
int clinux_permanent_address(const char *interface_name, uint8_t address[32], uint32_t *length);

/// Sets the hardware's clock to a time in seconds since 1970, as UTC (RTC_SET_TIME); 0 also where there is none.
int clinux_set_hardware_clock(int64_t seconds);

/// What the kernel says of its clock (adjtimex with no modes); 0 or an errno.
struct clinux_clock_state {
    int is_synchronised;
    int64_t offset_nanoseconds;
    int64_t max_error_microseconds;
    int64_t estimated_error_microseconds;
};
int clinux_read_clock_state(struct clinux_clock_state *state);

/// Resets the machine now (RB_AUTOBOOT) or turns it off (RB_POWER_OFF); file systems are not synced.
int clinux_restart(void);
int clinux_power_off(void);

/// Moves the calling thread into a network namespace (setns with CLONE_NEWNET) or into a new one (unshare).
int clinux_enter_network_namespace(int descriptor);
int clinux_new_network_namespace(void);

/// Puts each of two folders or files of one file system in the place of the other, at once (renameat2, RENAME_EXCHANGE).
int clinux_exchange(const char *one, const char *other);

/// Writes everything of the descriptor's file system to the disk (syncfs).
int clinux_sync_file_system(int descriptor);

#endif
