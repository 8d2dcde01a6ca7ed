package netfault

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// scratch makes a network namespace that nothing else is in. It is gone when
// it is closed.
func scratch() (*Namespace, error) {
	var ns *Namespace
	err := onSpareThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a scratch network namespace (run as root): %w", err)
		}
		if ns, err = OpenPath("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return ns.loopbackUp()
	})
	if err != nil && ns != nil {
		err = errors.Join(err, ns.Close())
	}
	return ns, err
}

func (ns *Namespace) loopbackUp() error {
	h, err := ns.tc()
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	return h.LinkSetUp(lo)
}

const trialDelay = 5 * time.Millisecond

// tryNFQueue delays a packet to itself and looks how long it took.
func tryNFQueue(ctx context.Context) Ability {
	a := Ability{Mechanism: NFQueue}
	if err := a.tryNFQueue(ctx); err != nil {
		return a.failed(err, map[string]string{
			"": "modprobe -a nf_tables nfnetlink_queue nft_queue",
		})
	}
	return a
}

func (a *Ability) tryNFQueue(ctx context.Context) (err error) {
	ns, err := scratch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	d := Delay{Direction: Both, Delay: trialDelay, Loopback: true}
	h, err := ns.Hold("faultline-trial", d, func() time.Duration { return armedFor })
	if err != nil {
		return err
	}
	took, err := ns.talkToItself(ctx)
	m, look := h.Measure()
	if err := errors.Join(err, look, h.Close()); err != nil {
		return err
	}
	if took < 2*trialDelay || m.Packets == 0 {
		return fmt.Errorf("%w: a packet took %s where %s were asked for", ErrUnsupported, took, 2*trialDelay)
	}
	a.By = "xtables NFQUEUE target"
	if h.rules.build.native {
		a.By = "nft_queue"
	}
	a.Works, a.Peers, a.Ingress, a.RealTime = true, true, true, m.Real
	return nil
}

// talkToItself sends a packet over lo and gives the time it took.
func (ns *Namespace) talkToItself(ctx context.Context) (took time.Duration, err error) {
	err = ns.Do(func() error {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return fmt.Errorf("open a socket: %w", err)
		}
		defer conn.Close()
		end := time.Now().Add(time.Second)
		if d, ok := ctx.Deadline(); ok && d.Before(end) {
			end = d
		}
		start := time.Now()
		if _, err := conn.WriteTo([]byte("trial"), conn.LocalAddr()); err != nil {
			return fmt.Errorf("send a packet: %w", err)
		}
		if err := conn.SetReadDeadline(end); err != nil {
			return err
		}
		if _, _, err := conn.ReadFrom(make([]byte, 16)); err != nil {
			return fmt.Errorf("no packet came through: %w", err)
		}
		took = time.Since(start)
		return nil
	})
	return took, err
}

// tryNetem does the same with netem, then tries what peers and ingress need.
func tryNetem(ctx context.Context) Ability {
	a := Ability{Mechanism: Netem, By: "netem"}
	err := trial(ctx, Delay{Direction: Egress, Delay: trialDelay, Loopback: true})
	if err != nil {
		return a.failed(err, netemMends)
	}
	a.Works = true
	someone, err := ParsePeer("127.0.0.0/8")
	if err == nil {
		err = trial(ctx, Delay{Direction: Egress, Delay: trialDelay, Loopback: true, Peers: []Peer{someone}})
	}
	if a.Peers = err == nil; err != nil {
		a.Why = "peers: " + err.Error()
	}
	err = trial(ctx, Delay{Direction: Ingress, Delay: trialDelay, Loopback: true})
	if a.Ingress = err == nil; err != nil {
		a.Why = strings.TrimPrefix(a.Why+"; ingress: "+err.Error(), "; ")
	}
	return a
}

func trial(ctx context.Context, d Delay) (err error) {
	ns, err := scratch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	s, err := ns.AimShaping(d, "try")
	if err != nil {
		return err
	}
	if err := ns.Shape(s); err != nil {
		return errors.Join(err, ns.Unshape(ctx, s))
	}
	took, err := ns.talkToItself(ctx)
	if err := errors.Join(err, ns.Unshape(ctx, s)); err != nil {
		return err
	}
	if took < trialDelay {
		return fmt.Errorf("%w: a packet took %s where %s were asked for", ErrUnsupported, took, trialDelay)
	}
	return nil
}

// netemMends says by distribution where netem comes from.
var netemMends = map[string]string{
	"rhel": "dnf install kernel-modules-extra && modprobe sch_netem", "centos": "dnf install kernel-modules-extra && modprobe sch_netem",
	"rocky": "dnf install kernel-modules-extra && modprobe sch_netem", "almalinux": "dnf install kernel-modules-extra && modprobe sch_netem",
	"fedora": "dnf install kernel-modules-extra && modprobe sch_netem",
	"":       "modprobe sch_netem",
}

func (a Ability) failed(err error, mends map[string]string) Ability {
	a.Works, a.Err, a.Why = false, err, err.Error()
	switch {
	case os.Geteuid() != 0:
		a.Mend = "run faultline as root"
	case errors.Is(err, unix.EPERM):
		a.Mend = "run faultline with CAP_NET_ADMIN and CAP_SYS_ADMIN"
	case errors.Is(err, ErrUnsupported):
		a.Mend = mend(mends)
	}
	return a
}

// mend chooses by /etc/os-release; modules cannot be loaded where the kernel has none.
func mend(mends map[string]string) string {
	if _, err := os.Stat("/proc/modules"); err != nil {
		return ""
	}
	file, err := os.Open("/etc/os-release")
	if err != nil {
		return mends[""]
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "ID="); ok {
			if command, ok := mends[strings.Trim(id, `"`)]; ok {
				return command
			}
		}
	}
	return mends[""]
}
