// Echoes of the Internet Control Message Protocol (RFC 792).
#include "CLinuxNetwork.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

int clinux_probe_socket(void) {
    int descriptor = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
    if (descriptor < 0) return -errno;
    struct icmp_filter filter = {.data = ~(1U << ICMP_ECHOREPLY)};
    int probe = IP_PMTUDISC_PROBE;
    if (setsockopt(descriptor, SOL_RAW, ICMP_FILTER, &filter, sizeof filter) != 0
        || setsockopt(descriptor, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe) != 0) {
        int error = errno;
        close(descriptor);
        return -error;
    }
    return descriptor;
}

int clinux_probe_send(int descriptor, uint32_t address, const uint8_t *message, size_t length) {
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    ssize_t sent = sendto(descriptor, message, length, MSG_DONTWAIT, (struct sockaddr *)&target, sizeof target);
    return sent < 0 ? errno : 0;
}

long clinux_probe_receive(int descriptor, uint32_t *address, uint8_t *packet, size_t length) {
    struct sockaddr_in source = {0};
    socklen_t size = sizeof source;
    ssize_t count = recvfrom(descriptor, packet, length, MSG_DONTWAIT, (struct sockaddr *)&source, &size);
    if (count < 0) return -errno;
    *address = ntohl(source.sin_addr.s_addr);
    return count;
}
