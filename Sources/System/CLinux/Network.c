#define _GNU_SOURCE
#include "CLinuxNetwork.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
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
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)index, .sll_halen = ETH_ALEN};
    memcpy(&address.sll_protocol, frame + 2 * ETH_ALEN, 2);
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

/// A packet socket for one protocol of one interface. It is bound to no protocol until its filter is there.
static int listening_packet_socket(unsigned index, int type, uint16_t protocol, struct sock_fprog *filter) {
    int descriptor = socket(AF_PACKET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = (int)index};
    if ((filter && setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, filter, sizeof *filter) != 0)
        || bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0)
        return failed(descriptor);
    return descriptor;
}

int clinux_dhcp_listener(unsigned index) {
    // IPv4 from its header on: UDP, no fragment, to port 68.
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 6),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x3FFF, 4, 0),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 68, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0xFFFF),
        BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};
    return listening_packet_socket(index, SOCK_DGRAM, ETH_P_IP, &filter);
}

int clinux_lldp_listener(unsigned index) {
    int descriptor = listening_packet_socket(index, SOCK_DGRAM, ETH_P_LLDP, NULL);
    if (descriptor < 0) return descriptor;
    // A few frames are enough; nobody shall fill the kernel's memory with them.
    int size = 64 << 10;
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    struct packet_mreq group = {
        .mr_ifindex = (int)index, .mr_type = PACKET_MR_MULTICAST, .mr_alen = ETH_ALEN,
        .mr_address = {0x01, 0x80, 0xC2, 0x00, 0x00, 0x0E}};
    if (setsockopt(descriptor, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof group) != 0) return failed(descriptor);
    return descriptor;
}

int clinux_arp_listener(unsigned index) { return listening_packet_socket(index, SOCK_DGRAM, ETH_P_ARP, NULL); }

long clinux_receive(int descriptor, uint8_t *buffer, size_t capacity) {
    ssize_t count = recv(descriptor, buffer, capacity, MSG_DONTWAIT | MSG_TRUNC);
    return count < 0 ? -errno : count;
}

int clinux_echo_socket(void) {
    int descriptor = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
    if (descriptor < 0) return -errno;
    // Echo replies only (ICMP_FILTER, raw(7)).
    uint32_t dropped = ~1u;
    if (setsockopt(descriptor, SOL_RAW, 1, &dropped, sizeof dropped) != 0) return failed(descriptor);
    return descriptor;
}

int clinux_echo_send(int descriptor, uint32_t destination, const uint8_t *message, size_t length) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(destination)}};
    ssize_t sent = sendto(descriptor, message, length, 0, (struct sockaddr *)&address, sizeof address);
    return sent < 0 ? errno : 0;
}

int clinux_route_interface(uint32_t destination, char name[16]) {
    struct {
        struct nlmsghdr header;
        struct rtmsg route;
        struct rtattr attribute;
        uint32_t address;
    } request = {
        .header = {.nlmsg_len = sizeof request, .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = AF_INET, .rtm_dst_len = 32},
        .attribute = {.rta_len = RTA_LENGTH(4), .rta_type = RTA_DST},
        .address = htonl(destination)};
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0) return errno;
    union {
        struct nlmsghdr header;
        uint8_t bytes[4096];
    } reply;
    int error = 0;
    ssize_t count = send(descriptor, &request, sizeof request, 0);
    // The kernel answers while it takes the request.
    if (count > 0) count = recv(descriptor, &reply, sizeof reply, MSG_DONTWAIT);
    if (count < 0) error = errno;
    close(descriptor);
    if (error) return error;
    if (!NLMSG_OK(&reply.header, (unsigned)count)) return EBADMSG;
    if (reply.header.nlmsg_type == NLMSG_ERROR) {
        int code = -((struct nlmsgerr *)NLMSG_DATA(&reply.header))->error;
        return code ? code : EBADMSG;
    }
    if (reply.header.nlmsg_type != RTM_NEWROUTE) return EBADMSG;
    struct rtmsg *route = NLMSG_DATA(&reply.header);
    int left = (int)RTM_PAYLOAD(&reply.header);
    for (struct rtattr *next = RTM_RTA(route); RTA_OK(next, left); next = RTA_NEXT(next, left)) {
        if (next->rta_type != RTA_OIF || RTA_PAYLOAD(next) != 4) continue;
        unsigned index;
        memcpy(&index, RTA_DATA(next), 4);
        return if_indextoname(index, name) ? 0 : errno;
    }
    return ENETUNREACH;
}
