// Package netfault slows down packets inside one network namespace, and takes
// that back. It knows two mechanisms: nfqueue, which holds packets in this
// process and dies with it, and netem, which the kernel keeps until it is told
// to stop.
//
// It refuses to touch a namespace whose identity (boot id and cookie) it has not
// read for itself, a queueing discipline that it did not make, and anything that
// it could not read. It decides nothing about who is hit or for how long.
//
// Not seen by nfqueue: ARP and IPv6 neighbour discovery (never delayed), frames
// that a bridge forwards, and what AF_PACKET sockets or XDP programs send.
package netfault
