// Package canned has records of runs that never happened: the golden files, the
// screenshots and the benchmark of the reports are made of them. Each is plain
// events and samples, as a journal would give them back.
//
// It refuses to be random and to read a clock: the same name gives the same record.
package canned

import (
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// Run is one record.
type Run struct {
	Name   string // of the file that is made of it
	About  string // what is special about it
	Events []experiments.Event
	Every  []experiments.Sample
}

// Samples gives the samples as a reader of the samples file would.
func (r Run) Samples() iter.Seq2[experiments.Sample, error] {
	return func(yield func(experiments.Sample, error) bool) {
		for _, s := range r.Every {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// began is when every canned run began.
var began = time.Date(2026, 3, 14, 9, 30, 0, 0, time.UTC)

const beganBoot experiments.Boottime = 86_400_000_000_000

// script writes a record, line by line.
type script struct {
	events  []experiments.Event
	samples []experiments.Sample
	chance  *rand.Rand
	plan    experiments.Plan
	phases  map[experiments.Phase]time.Duration
}

// write begins the record of a plan.
func write(plan experiments.Plan, run string) *script {
	s := &script{chance: rand.New(rand.NewPCG(7, 11)), plan: plan, phases: map[experiments.Phase]time.Duration{}}
	s.add(0, experiments.Event{Type: experiments.EventRun, Header: header(plan, run)})
	return s
}

func header(plan experiments.Plan, run string) *experiments.Header {
	return &experiments.Header{
		Schema: experiments.JournalSchema, Run: run, Version: "v0.1.0", Machine: "5d8f2b0a6c3e4f19a7b1c0de9f8e7d6c",
		BootID: "0f3c9a52-7c41-4f0e-9a70-3b1de5c2a8f4", Host: "staging-3", User: "ci (1001)", OS: "linux 6.12.9 amd64", Engine: "Docker 28.5.2, local",
		Command:  []string{"faultline", "run", "checkout.yaml", "--seed", fmt.Sprint(plan.Seed)},
		HolderID: "pid 4127", ParentID: "pid 4121", Secrets: []string{}, Started: began, Plan: plan, Document: document(plan),
	}
}

func document(plan experiments.Plan) string {
	e := plan.Experiment
	text := fmt.Sprintf("apiVersion: %s\nkind: %s\nname: %s\nhypothesis: %s\n", e.APIVersion, e.Kind, e.Name, e.Hypothesis)
	for n, p := range e.Probes {
		if n == 0 {
			text += "probes:\n"
		}
		text += fmt.Sprintf("  - name: %s\n    %s: %s\n    every: %s\n", p.Name, p.Kind, p.Settings, p.Every)
	}
	for n, f := range e.Faults {
		if n == 0 {
			text += "faults:\n"
		}
		text += fmt.Sprintf("  - name: %s\n    at: %s\n", f.Name, f.At)
		if f.For > 0 {
			text += fmt.Sprintf("    for: %s\n", f.For)
		}
		text += fmt.Sprintf("    %s: %s\n", f.Kind, f.Settings)
	}
	return text
}

// add writes one event at an offset from the run's start.
func (s *script) add(at time.Duration, e experiments.Event) {
	e.Seq, e.At, e.Boot = uint64(len(s.events)+1), began.Add(at), beganBoot.Add(at)
	s.events = append(s.events, e)
}

func (s *script) phase(at time.Duration, p experiments.Phase) {
	s.phases[p] = at
	s.add(at, experiments.Event{Type: experiments.EventPhase, Phase: p})
}

func (s *script) baseline(at time.Duration) {
	s.add(at, experiments.Event{Type: experiments.EventBaseline, By: "parent"})
}

// aim writes that target n of a fault (both from 1) is durable.
func (s *script) aim(at time.Duration, fault, n int) {
	planned := s.plan.Faults[fault-1]
	s.add(at, experiments.Event{Type: experiments.EventAimed, Fault: fault, Target: id(fault, n), Injection: &experiments.Injection{
		ID: id(fault, n), Fault: fault, Kind: planned.Kind, Target: json.RawMessage(`{}`), Description: planned.Descriptions[n-1],
	}})
}

func id(fault, n int) string { return fmt.Sprintf("%d.%d", fault, n) }

func (s *script) target(at time.Duration, t experiments.EventType, fault, n int, more experiments.Event) {
	more.Type, more.Fault, more.Target = t, fault, id(fault, n)
	s.add(at, more)
}

// hit aims, injects and confirms.
func (s *script) hit(at time.Duration, fault, n int, measured map[string]string) {
	s.aim(at, fault, n)
	s.target(at+4*time.Millisecond, experiments.EventInjected, fault, n, experiments.Event{})
	s.confirm(at+31*time.Millisecond, fault, n, experiments.EffectOn, "", measured)
}

func (s *script) confirm(at time.Duration, fault, n int, state experiments.EffectState, why string, measured map[string]string) {
	s.target(at, experiments.EventConfirmed, fault, n, experiments.Event{Effect: &experiments.Effect{State: state, Why: why, Measured: measured}})
}

// undo writes an undo; failure is why it could not be verified.
func (s *script) undo(at time.Duration, fault, n int, failure string) {
	s.target(at, experiments.EventUndoing, fault, n, experiments.Event{})
	s.target(at+6*time.Millisecond, experiments.EventUndone, fault, n, experiments.Event{Error: failure, By: "holder"})
}

func (s *script) back(at time.Duration, fault, n int, state experiments.ReturnState, by string) {
	s.target(at, experiments.EventReturned, fault, n, experiments.Event{Return: &experiments.Return{State: state, By: by}})
}

func (s *script) close(at time.Duration, complete bool, undone *bool) {
	s.add(at, experiments.Event{Type: experiments.EventClosed, Close: &experiments.Close{By: "parent", Undone: undone, Complete: complete}})
}

// answer is what a probe saw at one moment since the run's start.
type answer func(at time.Duration, usual time.Duration) (took time.Duration, outcome experiments.Outcome, why string)

// sample asks a probe by its schedule from one moment to another.
func (s *script) sample(probe int, from, to time.Duration, usual time.Duration, what answer) {
	every := s.plan.Experiment.Probes[probe].Every.Std()
	for due := from + time.Duration(probe)*time.Millisecond; due < to; due += every {
		took, outcome, why := what(due, s.usually(usual))
		s.samples = append(s.samples, experiments.Sample{
			Probe: probe, Due: beganBoot.Add(due), Late: time.Duration(s.chance.IntN(400)) * time.Microsecond, Took: took, Outcome: outcome, Why: why,
		})
	}
}

// usually is a length of time with a tail, as services have it.
func (s *script) usually(usual time.Duration) time.Duration {
	return time.Duration(float64(usual) * math.Exp(s.chance.NormFloat64()*0.25)).Round(time.Microsecond)
}

// run gives the record with its samples in the order in which their answers came.
func (s *script) run(name, about string) Run {
	slices.SortStableFunc(s.samples, func(a, b experiments.Sample) int {
		return int(a.Due.Add(a.Late+a.Took) - b.Due.Add(b.Late+b.Took))
	})
	slices.SortStableFunc(s.events, func(a, b experiments.Event) int { return int(a.Boot - b.Boot) })
	for n := range s.events {
		s.events[n].Seq = uint64(n + 1)
	}
	return Run{Name: name, About: about, Events: s.events, Every: s.samples}
}

func good(_ time.Duration, usual time.Duration) (time.Duration, experiments.Outcome, string) {
	return usual, experiments.OutcomeGood, ""
}

// bad gives what is bad from one moment to another, and good else.
func bad(from, to time.Duration, took time.Duration, why string) answer {
	return func(at, usual time.Duration) (time.Duration, experiments.Outcome, string) {
		if at >= from && at < to {
			return took, experiments.OutcomeBad, why
		}
		return good(at, usual)
	}
}
