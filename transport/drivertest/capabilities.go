package drivertest

import (
	"errors"
	"reflect"

	"github.com/anywire/anywire/transport/driver"
)

func capabilityCases() []Case {
	return []Case{
		{
			Name:     "capabilities/declared",
			Sentence: "Capabilities is equal to what the kind declared without a connection.",
			Needs:    []Need{needDeclared},
			run:      capabilitiesDeclared,
		},
		{
			Name:     "capabilities/constant",
			Sentence: "Capabilities is constant over the life of the driver.",
			run:      capabilitiesConstant,
		},
		{
			Name:     "capabilities/browse-interface",
			Sentence: "Capabilities.Browse: the optional interface does work.",
			Needs:    []Need{needBrowse},
			run: func(e *env) {
				if _, ok := e.d.(driver.Browser); !ok {
					e.Errorf("Capabilities.Browse is set, and %T is no driver.Browser", e.d)
				}
			},
		},
		{
			Name:     "capabilities/lag-interface",
			Sentence: "Capabilities.Lag: the optional interface does work.",
			Needs:    []Need{needLag},
			run: func(e *env) {
				if _, ok := e.d.(driver.Lagger); !ok {
					e.Errorf("Capabilities.Lag is set, and %T is no driver.Lagger", e.d)
				}
			},
		},
		{
			Name:     "capabilities/one-reader",
			Sentence: "The engine has made sure of the one reader by a Leaser, or the driver does where Capabilities.OwnsShards.",
			Needs:    []Need{needOrder},
			run:      capabilitiesOneReader,
		},
		{
			Name:     "capabilities/in-process-is-not-durable",
			Sentence: "InProcess: the broker lives and dies with this process; Durable: messages survive the death of every client process.",
			Needs:    []Need{needInProcess},
			run: func(e *env) {
				if e.caps.Durable {
					e.Errorf("Capabilities has both InProcess and Durable")
				}
			},
		},
		{
			Name:     "capabilities/header-style",
			Sentence: "Headers says how attributes are written on this broker.",
			run:      capabilitiesHeaderStyle,
		},
		{
			Name:     "capabilities/ping",
			Sentence: "Ping checks that the broker answers.",
			Needs:    []Need{needPinger},
			run:      pingAnswers,
		},
		{
			Name:     "capabilities/ping-closed",
			Sentence: "Ping checks that the broker answers: a closed driver has none.",
			Needs:    []Need{needPinger},
			run:      pingClosed,
		},
	}
}

func capabilitiesDeclared(e *env) {
	if !reflect.DeepEqual(e.caps, *e.h.Declared) {
		e.Errorf("the open driver has\n%+v\nits kind declared\n%+v", e.caps, *e.h.Declared)
	}
}

func capabilitiesConstant(e *env) {
	topic, group := e.topic(1), e.group()
	m := e.join(topic, group)
	e.publish(topic, e.msg("", "1"))
	m.ack(m.takeOne("1"))
	m.close()
	if now := e.d.Capabilities(); !reflect.DeepEqual(e.caps, now) {
		e.Errorf("after some traffic the driver has\n%+v\nwhen opened it had\n%+v", now, e.caps)
	}
}

func capabilitiesOneReader(e *env) {
	_, leaser := e.d.(driver.Leaser)
	if !leaser && !e.caps.OwnsShards {
		e.Errorf("Capabilities.Order is set without OwnsShards, and %T is no driver.Leaser: nobody can make sure of one reader", e.d)
	}
}

func capabilitiesHeaderStyle(e *env) {
	if e.caps.Headers.ContentType == "" && !e.caps.InProcess {
		e.Errorf("Capabilities.Headers.ContentType is empty: the content type would have no header")
	}
}

func pingAnswers(e *env) {
	e.mustf(e.d.(driver.Pinger).Ping(e.ctx()), "Ping")
}

func pingClosed(e *env) {
	e.mustf(e.d.Close(e.ctx()), "Close")
	err := e.d.(driver.Pinger).Ping(e.ctx())
	if !errors.Is(err, driver.ErrClosed) {
		e.Errorf("Ping after Close: %v, want ErrClosed", err)
	}
}
