// Sockets that need constants and structures which Swift does not import.
#ifndef CLINUX_NETWORK_H
#define CLINUX_NETWORK_H

#include <stddef.h>
#include <stdint.h>

/// The index and the Ethernet address of an interface. Returns 0 or an errno.
int clinux_interface(const char *name, unsigned *index, uint8_t mac[6]);

/// A UDP socket bound to one interface (SO_BINDTODEVICE), 0.0.0.0 and `port`, allowed to broadcast, without
/// SO_REUSEADDR: a second one for the same interface and port fails. Returns the descriptor or a negative errno.
int clinux_bound_udp_socket(const char *interface, uint16_t port);

/// An AF_PACKET socket that sends whole Ethernet frames and receives nothing. Returns the descriptor or a negative errno.
int clinux_packet_socket(void);

/// Sends one Ethernet frame out of an interface. Returns 0 or an errno.
int clinux_packet_send(int descriptor, unsigned index, const uint8_t *frame, size_t length);

/// An AF_PACKET socket that hears IPv4 datagrams to UDP port 68 on an interface, whoever they are for, each from its IP
/// header on. Returns the descriptor or a negative errno.
int clinux_dhcp_listener(unsigned index);

/// An AF_PACKET socket that hears ARP on an interface, each message without its Ethernet header. Returns the descriptor
/// or a negative errno.
int clinux_arp_listener(unsigned index);

/// An AF_PACKET socket that hears LLDP (IEEE 802.1AB) on an interface, each frame without its Ethernet header, and has the
/// card let the frames in that are sent to the nearest bridge. Returns the descriptor or a negative errno.
int clinux_lldp_listener(unsigned index);

/// Receives one message without waiting. Returns its whole length, which may be more than `capacity`, or a negative
/// errno.
long clinux_receive(int descriptor, uint8_t *buffer, size_t capacity);

/// A raw ICMP socket that receives echo replies only, each from its IP header on. Returns the descriptor or a negative
/// errno.
int clinux_echo_socket(void);

/// Sends one ICMP message, checksum included, to an address in host order. Returns 0 or an errno.
int clinux_echo_send(int descriptor, uint32_t destination, const uint8_t *message, size_t length);

/// The name of the interface through which the kernel sends to an address in host order (RTM_GETROUTE). Returns 0 or an
/// errno.
int clinux_route_interface(uint32_t destination, char name[16]);

/// A raw ICMPv6 socket bound to one interface that receives router solicitations only (also those to ff02::2) and sends
/// with hop limit 255. Returns the descriptor or a negative errno.
int clinux_router_socket(const char *interface, unsigned index);

/// Sends one ICMPv6 message to ff02::1 on an interface; the kernel fills in the checksum. Returns 0 or an errno.
int clinux_router_send(int descriptor, unsigned index, const uint8_t *message, size_t length);

/// A raw ICMP socket that receives echo replies only and never fragments what it sends (IP_PMTUDISC_PROBE). Returns the
/// descriptor or a negative errno.
int clinux_probe_socket(void);

/// Sends one ICMP message to an IPv4 address in host byte order; returns 0 or an errno.
int clinux_probe_send(int descriptor, uint32_t address, const uint8_t *message, size_t length);

/// Receives one packet with its IPv4 header and the address that it came from. Returns its bytes, or a negative errno.
long clinux_probe_receive(int descriptor, uint32_t *address, uint8_t *packet, size_t length);

#endif
