#define _GNU_SOURCE
#include "CLinuxIPMI.h"

#include <errno.h>
#include <linux/ipmi.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

int clinux_ipmi_request(int descriptor, uint8_t function, uint8_t command, const uint8_t *data, uint16_t data_length,
                        int64_t number, int milliseconds, uint8_t *answer, uint16_t capacity, uint16_t *answer_length) {
    struct ipmi_system_interface_addr bmc = {
        .addr_type = IPMI_SYSTEM_INTERFACE_ADDR_TYPE, .channel = IPMI_BMC_CHANNEL};
    struct ipmi_req request = {
        .addr = (unsigned char *)&bmc, .addr_len = sizeof bmc, .msgid = (long)number,
        .msg = {.netfn = function, .cmd = command, .data_len = data_length, .data = (unsigned char *)data}};
    if (ioctl(descriptor, IPMICTL_SEND_COMMAND, &request) < 0) return errno;
    int64_t end = now() + milliseconds;
    for (;;) {
        int64_t left = end - now();
        if (left <= 0) return ETIMEDOUT;
        struct pollfd wait = {.fd = descriptor, .events = POLLIN};
        int ready = poll(&wait, 1, (int)left);
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0) return errno;
        if (ready == 0) return ETIMEDOUT;
        struct ipmi_addr from;
        struct ipmi_recv message = {
            .addr = (unsigned char *)&from, .addr_len = sizeof from, .msg = {.data = answer, .data_len = capacity}};
        if (ioctl(descriptor, IPMICTL_RECEIVE_MSG_TRUNC, &message) < 0) {
            // EMSGSIZE: it was longer and has been cut.
            if (errno == EINTR || errno == EAGAIN) continue;
            if (errno != EMSGSIZE) return errno;
        }
        if (message.recv_type != IPMI_RESPONSE_RECV_TYPE || message.msgid != (long)number) continue;
        *answer_length = message.msg.data_len <= capacity ? message.msg.data_len : capacity;
        return 0;
    }
}
