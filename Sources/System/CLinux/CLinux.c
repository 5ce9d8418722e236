#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <linux/rtc.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

static int result(int value) { return value < 0 ? errno : 0; }

unsigned clinux_major(dev_t device) { return major(device); }
unsigned clinux_minor(dev_t device) { return minor(device); }

int clinux_block_size(int descriptor, uint64_t *bytes) { return result(ioctl(descriptor, BLKGETSIZE64, bytes)); }

int clinux_logical_block_size(int descriptor, uint32_t *bytes) {
    int size = 0;
    int code = result(ioctl(descriptor, BLKSSZGET, &size));
    *bytes = (uint32_t)size;
    return code;
}

int clinux_block_read_only(int descriptor, int *is_read_only) {
    return result(ioctl(descriptor, BLKROGET, is_read_only));
}

int clinux_block_zero(int descriptor, uint64_t offset, uint64_t length) {
    uint64_t range[2] = {offset, length};
    return result(ioctl(descriptor, BLKZEROOUT, range));
}

int clinux_block_discard(int descriptor, uint64_t offset, uint64_t length) {
    uint64_t range[2] = {offset, length};
    return result(ioctl(descriptor, BLKDISCARD, range));
}

int clinux_punch_hole(int descriptor, uint64_t offset, uint64_t length) {
    return result(fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length));
}

int clinux_open_direct(int descriptor, int *direct) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    *direct = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);
    return result(*direct);
}

int clinux_nvme_format(int descriptor) {
    int namespace_id = ioctl(descriptor, NVME_IOCTL_ID);
    if (namespace_id <= 0) return namespace_id < 0 ? errno : ENOTTY;
    // Identify Namespace (opcode 06h, CNS 0): byte 26 holds the format in use, which is kept.
    _Alignas(4096) uint8_t identity[4096] = {0};
    struct nvme_admin_cmd identify = {
        .opcode = 0x06, .nsid = (uint32_t)namespace_id, .addr = (uint64_t)(uintptr_t)identity,
        .data_len = sizeof identity};
    int status = ioctl(descriptor, NVME_IOCTL_ADMIN_CMD, &identify);
    if (status != 0) return status < 0 ? errno : EOPNOTSUPP;
    // Format NVM (opcode 80h): Secure Erase Settings 1, user data erase. Large disks may take an hour.
    struct nvme_admin_cmd format = {
        .opcode = 0x80, .nsid = (uint32_t)namespace_id, .cdw10 = (uint32_t)(identity[26] & 0x0f) | 1u << 9,
        .timeout_ms = 3600000};
    status = ioctl(descriptor, NVME_IOCTL_ADMIN_CMD, &format);
    return status == 0 ? 0 : status < 0 ? errno : EOPNOTSUPP;
}

int clinux_start_writeback(int descriptor, uint64_t offset, uint64_t length) {
    return result(sync_file_range(descriptor, (off_t)offset, (off_t)length, SYNC_FILE_RANGE_WRITE));
}

int clinux_reread_partitions(int descriptor) { return result(ioctl(descriptor, BLKRRPART)); }

int clinux_permanent_address(const char *interface_name, uint8_t address[32], uint32_t *length) {
    _Alignas(8) uint8_t memory[sizeof(struct ethtool_perm_addr) + 32] = {0};
    struct ethtool_perm_addr *answer = (struct ethtool_perm_addr *)memory;
    answer->cmd = ETHTOOL_GPERMADDR;
    answer->size = 32;
    struct ifreq request = {0};
    strncpy(request.ifr_name, interface_name, IFNAMSIZ - 1);
    request.ifr_data = (char *)answer;
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return errno;
    int code = result(ioctl(descriptor, SIOCETHTOOL, &request));
    close(descriptor);
    if (code == 0) {
        *length = answer->size <= 32 ? answer->size : 32;
        memcpy(address, answer->data, *length);
    }
    return code;
}

int clinux_set_hardware_clock(int64_t seconds) {
    time_t time = (time_t)seconds;
    struct tm parts;
    if (!gmtime_r(&time, &parts)) return errno;
    int descriptor = open("/dev/rtc0", O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return errno == ENOENT || errno == ENODEV || errno == ENXIO ? 0 : errno;
    struct rtc_time value = {
        .tm_sec = parts.tm_sec, .tm_min = parts.tm_min, .tm_hour = parts.tm_hour,
        .tm_mday = parts.tm_mday, .tm_mon = parts.tm_mon, .tm_year = parts.tm_year};
    int code = result(ioctl(descriptor, RTC_SET_TIME, &value));
    close(descriptor);
    return code;
}

int clinux_read_clock_state(struct clinux_clock_state *state) {
    struct timex value = {.modes = 0};
    if (adjtimex(&value) < 0) return errno;
    state->is_synchronised = !(value.status & STA_UNSYNC);
    state->offset_nanoseconds = (int64_t)value.offset * (value.status & STA_NANO ? 1 : 1000);
    state->max_error_microseconds = value.maxerror;
    state->estimated_error_microseconds = value.esterror;
    return 0;
}

int clinux_restart(void) { return result(reboot(RB_AUTOBOOT)); }
int clinux_power_off(void) { return result(reboot(RB_POWER_OFF)); }

int clinux_enter_network_namespace(int descriptor) { return result(setns(descriptor, CLONE_NEWNET)); }
int clinux_new_network_namespace(void) { return result(unshare(CLONE_NEWNET)); }

int clinux_exchange(const char *one, const char *other) {
    return result(renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE));
}

int clinux_sync_file_system(int descriptor) { return result(syncfs(descriptor)); }
