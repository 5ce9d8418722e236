#define _GNU_SOURCE
#include "CLinuxNetwork.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int copy_name(struct ifreq *request, const char *name) {
    memset(request, 0, sizeof *request);
    if (strlen(name) == 0 || strlen(name) >= IFNAMSIZ) return ENODEV;
    strcpy(request->ifr_name, name);
    return 0;
}

static int failed(int descriptor) {
    int error = errno;
    if (descriptor >= 0) close(descriptor);
    return -error;
}

int clinux_interface(const char *name, unsigned *index, uint8_t mac[6]) {
    struct ifreq request;
    int error = copy_name(&request, name);
    if (error) return error;
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return errno;
    if (ioctl(descriptor, SIOCGIFINDEX, &request) == 0) {
        *index = (unsigned)request.ifr_ifindex;
        if (ioctl(descriptor, SIOCGIFHWADDR, &request) == 0) memcpy(mac, request.ifr_hwaddr.sa_data, 6);
        else error = errno;
    } else {
        error = errno;
    }
    close(descriptor);
    return error;
}

int clinux_bound_udp_socket(const char *interface, uint16_t port) {
    struct ifreq request;
    int error = copy_name(&request, interface);
    if (error) return -error;
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, request.ifr_name, strlen(request.ifr_name) + 1) != 0
        || setsockopt(descriptor, SOL_SOCKET, SO_BROADCAST, &on, sizeof on) != 0
        || bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0)
        return failed(descriptor);
    return descriptor;
}

int clinux_packet_socket(void) {
    int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return descriptor < 0 ? -errno : descriptor;
}

int clinux_packet_send(int descriptor, unsigned index, const uint8_t *frame, size_t length) {
    if (length < ETH_HLEN) return EINVAL;
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)index, .sll_halen = ETH_ALEN};
    memcpy(address.sll_addr, frame, ETH_ALEN);
    ssize_t sent = sendto(descriptor, frame, length, 0, (struct sockaddr *)&address, sizeof address);
    return sent < 0 ? errno : 0;
}

int clinux_router_socket(const char *interface, unsigned index) {
    struct ifreq request;
    int error = copy_name(&request, interface);
    if (error) return -error;
    int descriptor = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6);
    if (descriptor < 0) return -errno;
    int hops = 255, off = 0, interface_index = (int)index;
    struct icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ND_ROUTER_SOLICIT, &filter);
    struct ipv6_mreq group = {.ipv6mr_interface = index};
    inet_pton(AF_INET6, "ff02::2", &group.ipv6mr_multiaddr);
    if (setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, request.ifr_name, strlen(request.ifr_name) + 1) != 0
        || setsockopt(descriptor, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter) != 0
        || setsockopt(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops) != 0
        || setsockopt(descriptor, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof hops) != 0
        || setsockopt(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &off, sizeof off) != 0
        || setsockopt(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface_index, sizeof interface_index) != 0
        || setsockopt(descriptor, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group) != 0)
        return failed(descriptor);
    return descriptor;
}

int clinux_router_send(int descriptor, unsigned index, const uint8_t *message, size_t length) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_scope_id = index};
    inet_pton(AF_INET6, "ff02::1", &address.sin6_addr);
    ssize_t sent = sendto(descriptor, message, length, 0, (struct sockaddr *)&address, sizeof address);
    return sent < 0 ? errno : 0;
}
