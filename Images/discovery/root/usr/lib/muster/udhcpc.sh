#!/bin/busybox sh
# Called by udhcpc with the lease in the environment.
case $1 in
deconfig)
    ip link set "$interface" up
    ip -4 addr flush dev "$interface"
    ;;
bound | renew)
    ip addr replace "$ip/${mask:-24}" ${broadcast:+broadcast "$broadcast"} dev "$interface"
    [ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
    metric=0
    for gateway in $router; do
        ip route replace default via "$gateway" dev "$interface" metric $metric
        metric=$((metric + 1))
    done
    : >/run/muster/resolv.conf
    [ -z "$domain" ] || echo "search $domain" >>/run/muster/resolv.conf
    for server in $dns; do echo "nameserver $server" >>/run/muster/resolv.conf; done
    echo "$ip/${mask:-24}" >"/run/muster/address.$interface"
    ;;
esac
