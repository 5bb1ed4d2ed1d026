/** Numbers of the Linux system call interface (the generic ABI: x86, ARM, RISC-V, LoongArch). */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;

/** Octets of a sockaddr_un's path with its terminating zero. */
export const UNIX_PATH_MAX = 108;

export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

export const SOL_SOCKET = 1;
export const SO_RCVBUF = 8;
export const SO_RCVBUFFORCE = 33;

export const IPPROTO_IP = 0;
export const IP_TTL = 2;
export const IP_MTU_DISCOVER = 10;
/** The address need not be there yet. */
export const IP_FREEBIND = 15;

export const IPPROTO_IPV6 = 41;
export const IPV6_UNICAST_HOPS = 16;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_V6ONLY = 26;
export const IPV6_DONTFRAG = 62;
export const IPV6_AUTOFLOWLABEL = 70;

/** For IP_MTU_DISCOVER and IPV6_MTU_DISCOVER: set DF, and ignore what ICMP says of the path. */
export const PMTUDISC_PROBE = 3;

export const NETLINK_XFRM = 6;
export const NETLINK_NETFILTER = 12;
export const SOL_NETLINK = 270;
/** Errors come without the request that they are about, and with a text. */
export const NETLINK_CAP_ACK = 10;
export const NETLINK_EXT_ACK = 11;

export const ETH_P_ALL = 3;

export const SIOCGSTAMPNS = 0x8907;
export const SIOCGIFINDEX = 0x8933;

export const TUNSETIFF = 0x400454ca;
export const IFF_TUN = 0x0001;
export const IFF_NO_PI = 0x1000;
/** Octets of an interface name with its terminating zero. */
export const IFNAMSIZ = 16;

export const SOL_UDP = 17;
/** ESP in UDP (RFC 3948): the kernel takes the ESP that a UDP socket receives. */
export const UDP_ENCAP = 100;
export const UDP_ENCAP_ESPINUDP = 2;

export const CLONE_NEWNET = 0x40000000;
