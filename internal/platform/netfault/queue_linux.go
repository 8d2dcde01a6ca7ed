package netfault

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of linux/netfilter/nfnetlink_queue.h.
const (
	queueSubsystem   = 3 // NFNL_SUBSYS_QUEUE
	msgPacket        = 0
	msgVerdict       = 1
	msgConfig        = 2
	msgVerdictBatch  = 3
	configCommand    = 1
	configParams     = 2
	configLength     = 3
	configMask       = 4
	configFlags      = 5
	commandBind      = 1
	copyNone         = 0
	copyMeta         = 1
	copyPacket       = 2
	flagGSO          = 1 << 2
	attrPacketHeader = 1
	attrVerdict      = 2
	attrTimestamp    = 4
	attrPayload      = 10
	verdictAccept    = 1
)

// queue is one NFQUEUE of a namespace, bound to a socket of ours. While the
// socket is open the kernel asks us about each packet; when it closes, the
// packets that wait are dropped and the rest pass (bypass).
type queue struct {
	conn   *netlink.Conn
	fd     int
	number uint16
}

// bindQueue takes a free number at random: a number in use answers EPERM.
func bindQueue(ns *Namespace, length uint32, payload uint32) (*queue, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(ns.file.Fd())})
	if err != nil {
		return nil, fmt.Errorf("open a queue in %s: %w", ns.path, nftError(err))
	}
	q := &queue{conn: conn}
	if err := q.setUp(length, payload); err != nil {
		return nil, errors.Join(fmt.Errorf("bind a queue in %s: %w", ns.path, err), conn.Close())
	}
	return q, nil
}

// bindSink takes a number for packets to be lost in: a queue that was not told
// what to copy takes none, without an error to the sender.
func bindSink(ns *Namespace) (*queue, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(ns.file.Fd())})
	if err != nil {
		return nil, fmt.Errorf("open a queue in %s: %w", ns.path, nftError(err))
	}
	q := &queue{conn: conn}
	if err := q.bind(); err != nil {
		return nil, errors.Join(fmt.Errorf("bind a queue in %s: %w", ns.path, err), conn.Close())
	}
	return q, nil
}

func (q *queue) setUp(length, payload uint32) error {
	raw, err := q.conn.SyscallConn()
	if err != nil {
		return err
	}
	// Room for the notes of packets that come while this thread does not run.
	if err := errors.Join(raw.Control(func(fd uintptr) {
		q.fd = int(fd)
		err = unix.SetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
	}), err); err != nil {
		return fmt.Errorf("make room for it (it needs CAP_NET_ADMIN: run as root): %w", err)
	}
	if err := q.bind(); err != nil {
		return err
	}
	mode := byte(copyMeta)
	if payload > 0 {
		mode = copyPacket
	}
	return errors.Join(
		q.configure(configParams, append(binary.BigEndian.AppendUint32(nil, payload), mode)),
		q.configure(configLength, binary.BigEndian.AppendUint32(nil, length)),
		q.configureFlags(flagGSO),
	)
}

const bindAttempts = 64

func (q *queue) bind() error {
	var err error
	for range bindAttempts {
		q.number = uint16(1025 + rand.IntN(65535-1025))
		err = q.configure(configCommand, []byte{commandBind, 0, 0, 0})
		if err == nil || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EBUSY) {
			return nftError(err)
		}
	}
	return fmt.Errorf("%d numbers were refused: %w", bindAttempts, nftError(err))
}

func (q *queue) configure(attribute uint16, data []byte) error {
	return q.send([]netlink.Attribute{{Type: attribute, Data: data}})
}

func (q *queue) configureFlags(flags uint32) error {
	value := binary.BigEndian.AppendUint32(nil, flags)
	return q.send([]netlink.Attribute{{Type: configFlags, Data: value}, {Type: configMask, Data: value}})
}

func (q *queue) send(attributes []netlink.Attribute) error {
	data, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		return err
	}
	_, err = q.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: queueSubsystem<<8 | msgConfig, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(queueHeader(q.number), data...),
	})
	return err
}

// queueHeader is struct nfgenmsg.
func queueHeader(number uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, 0}, number)
}

// close unbinds: what still waits is dropped by the kernel.
func (q *queue) close() error { return q.conn.Close() }

// note is what the kernel says of one packet that waits.
type note struct {
	id    uint32
	stamp int64  // wall clock, ns; 0 when the kernel has none
	flow  uint32 // hash of addresses and ports, when the payload was copied
}

// readNotes calls visit for each packet in a netlink datagram. Anything else
// (an error about a verdict that came too late) is skipped.
func readNotes(b []byte, visit func(note)) {
	for len(b) >= unix.SizeofNlMsghdr {
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.SizeofNlMsghdr || length > len(b) {
			return
		}
		if binary.NativeEndian.Uint16(b[4:]) == queueSubsystem<<8|msgPacket && length > unix.SizeofNlMsghdr+4 {
			visit(readNote(b[unix.SizeofNlMsghdr+4 : length]))
		}
		b = b[min((length+3)&^3, len(b)):]
	}
}

func readNote(b []byte) note {
	var n note
	for len(b) >= 4 {
		length := int(binary.NativeEndian.Uint16(b))
		if length < 4 || length > len(b) {
			return n
		}
		value := b[4:length]
		switch binary.NativeEndian.Uint16(b[2:]) & 0x3fff {
		case attrPacketHeader:
			n.id = binary.BigEndian.Uint32(value)
		case attrTimestamp:
			n.stamp = int64(binary.BigEndian.Uint64(value))*1e9 + int64(binary.BigEndian.Uint64(value[8:]))*1e3
		case attrPayload:
			n.flow = flowOf(value)
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return n
}

// flowOf hashes addresses and ports (FNV-1a). Packets of one flow hash alike;
// a fragment without ports hashes by its addresses.
func flowOf(packet []byte) uint32 {
	h := uint32(2166136261)
	add := func(b []byte) {
		for _, c := range b {
			h = (h ^ uint32(c)) * 16777619
		}
	}
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		add(packet[12:20])
		header := int(packet[0]&15) * 4
		whole := binary.BigEndian.Uint16(packet[6:])&0x3fff == 0
		if (packet[9] == unix.IPPROTO_TCP || packet[9] == unix.IPPROTO_UDP) && whole && len(packet) >= header+4 {
			add(packet[header : header+4])
		}
	case len(packet) >= 40 && packet[0]>>4 == 6:
		add(packet[8:40])
		if (packet[6] == unix.IPPROTO_TCP || packet[6] == unix.IPPROTO_UDP) && len(packet) >= 44 {
			add(packet[40:44])
		}
	}
	return h
}

// verdicts is a reused buffer of accept messages.
type verdicts struct {
	buffer []byte
	count  int
}

const verdictsAtOnce = 64

func (v *verdicts) reset() { v.buffer, v.count = v.buffer[:0], 0 }

// accept adds a verdict; batch means this packet and all before it.
func (v *verdicts) accept(queue uint16, id uint32, batch bool) {
	kind := uint16(queueSubsystem<<8 | msgVerdict)
	if batch {
		kind = queueSubsystem<<8 | msgVerdictBatch
	}
	b := v.buffer
	b = binary.NativeEndian.AppendUint32(b, 32)
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // sequence and port are not looked at
	b = append(b, unix.AF_UNSPEC, 0)
	b = binary.BigEndian.AppendUint16(b, queue)
	b = binary.NativeEndian.AppendUint16(b, 12)
	b = binary.NativeEndian.AppendUint16(b, attrVerdict)
	b = binary.BigEndian.AppendUint32(b, verdictAccept)
	b = binary.BigEndian.AppendUint32(b, id)
	v.buffer, v.count = b, v.count+1
}

// queueState is one line of /proc/net/netfilter/nfnetlink_queue.
type queueState struct {
	number         uint16
	waiting        int
	mode           int
	dropped        uint64
	couldNotTellUs uint64
}

// readQueues reads the queues of a namespace that somebody listens to.
func readQueues(ns *Namespace) (map[uint16]queueState, error) {
	queues := map[uint16]queueState{}
	err := ns.Do(func() error {
		file, err := os.Open("/proc/thread-self/net/netfilter/nfnetlink_queue")
		if err != nil {
			return fmt.Errorf("read the queues of %s: %w", ns.path, err)
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			var s queueState
			var port, copied uint64
			if _, err := fmt.Fscan(strings.NewReader(lines.Text()), &s.number, &port, &s.waiting, &s.mode, &copied,
				&s.dropped, &s.couldNotTellUs); err != nil {
				return fmt.Errorf("read the queues of %s: line %q: %w", ns.path, lines.Text(), err)
			}
			queues[s.number] = s
		}
		return lines.Err()
	})
	return queues, err
}
