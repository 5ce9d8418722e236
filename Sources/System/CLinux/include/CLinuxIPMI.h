// A machine's own BMC, through the kernel's IPMI device (linux/ipmi.h).
#ifndef CLINUX_IPMI_H
#define CLINUX_IPMI_H

#include <stddef.h>
#include <stdint.h>

/// Sends a command to the machine's own BMC and waits for its answer (IPMICTL_SEND_COMMAND). `number` tells answers
/// apart; those to other commands are skipped. The answer begins with the completion code and is cut to `capacity`.
/// Returns 0 or an errno; ETIMEDOUT when there is no answer within `milliseconds`.
int clinux_ipmi_request(int descriptor, uint8_t function, uint8_t command, const uint8_t *data, uint16_t data_length,
                        int64_t number, int milliseconds, uint8_t *answer, uint16_t capacity, uint16_t *answer_length);

#endif
