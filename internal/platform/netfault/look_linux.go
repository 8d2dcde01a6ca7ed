package netfault

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// Look reads our tables of one name back, with a socket of its own.
func (ns *Namespace) Look(name string) (Look, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.file.Fd())))
	if err != nil {
		return Look{}, fmt.Errorf("open nftables in %s: %w", ns.path, err)
	}
	l := looker{conn: conn, hooked: map[hookedFamily]bool{}}
	if err := l.read(name); err != nil {
		return Look{}, fmt.Errorf("read table %s in %s: %w", name, ns.path, nftError(err))
	}
	l.Ingress, l.Egress = l.leads(nftables.ChainHookPrerouting), l.leads(nftables.ChainHookOutput)
	if len(l.queues) == 0 {
		return l.Look, nil
	}
	states, err := readQueues(ns)
	if err != nil {
		return Look{}, err
	}
	for _, number := range l.queues {
		if s, ok := states[number]; ok {
			l.Heard++
			l.Waiting += s.waiting
			l.Dropped += s.dropped + s.couldNotTellUs
		}
	}
	return l.Look, nil
}

type looker struct {
	Look
	conn   *nftables.Conn
	hooked map[hookedFamily]bool
	queues []uint16
	sets   int
}

type hookedFamily struct {
	hook   nftables.ChainHook
	family nftables.TableFamily
}

// leads says whether packets of both families come by our rules at a hook.
func (l *looker) leads(hook *nftables.ChainHook) bool {
	at := func(f nftables.TableFamily) bool { return l.hooked[hookedFamily{*hook, f}] }
	return at(nftables.TableFamilyINet) || at(nftables.TableFamilyIPv4) && at(nftables.TableFamilyIPv6)
}

func (l *looker) read(name string) error {
	tables, err := l.conn.ListTables()
	if err != nil {
		return err
	}
	for _, table := range tables {
		if table.Name != name {
			continue
		}
		l.Present = true
		if err := l.readTable(table); err != nil {
			return err
		}
	}
	return nil
}

func (l *looker) readTable(table *nftables.Table) error {
	if err := l.readArmed(table); err != nil {
		return err
	}
	chains, err := l.conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return err
	}
	for _, chain := range chains {
		if chain.Table.Name != table.Name {
			continue
		}
		chain.Table = table
		rules, err := l.conn.GetRules(table, chain)
		if err != nil {
			return err
		}
		if chain.Hooknum != nil && len(rules) > 0 {
			l.Hooks++
			l.hooked[hookedFamily{*chain.Hooknum, table.Family}] = true
		}
		for _, rule := range rules {
			l.readRule(rule)
		}
	}
	return nil
}

func (l *looker) readArmed(table *nftables.Table) error {
	sets, err := l.conn.GetSets(table)
	if err != nil {
		return err
	}
	for _, set := range sets {
		if set.Name != "armed" {
			continue
		}
		elements, err := l.conn.GetSetElements(set)
		if err != nil {
			return err
		}
		if len(elements) < 2 { // both families, or it lets one pass
			l.armed(0)
		}
		for _, e := range elements {
			l.armed(e.Expires)
		}
	}
	return nil
}

// armed keeps the least: one family that is disarmed passes.
func (l *looker) armed(left time.Duration) {
	if l.sets++; l.sets == 1 || left < l.Armed {
		l.Armed = left
	}
}

func (l *looker) readRule(rule *nftables.Rule) {
	var matched uint64
	counted := false
	for _, e := range rule.Exprs {
		switch e := e.(type) {
		case *expr.Counter:
			matched, counted = e.Packets, true
		case *expr.Queue:
			l.hold(e.Num, matched, counted)
		case *expr.Target:
			if info, ok := e.Info.(*xt.Unknown); ok && e.Name == "NFQUEUE" && len(*info) >= 2 {
				l.hold(binary.NativeEndian.Uint16(*info), matched, counted)
			}
		}
	}
}

// hold notes a queue; one without a counter only loses what was copied.
func (l *looker) hold(queue uint16, matched uint64, counted bool) {
	if !counted {
		return
	}
	l.Holds++
	l.Matched += matched
	l.queues = append(l.queues, queue)
}
