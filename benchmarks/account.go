package main

import (
	"fmt"

	"github.com/annals-es/annals"
)

// opened and moved are the events of an account, the same for every library.
type opened struct {
	Owner, IBAN, Currency string
}

type moved struct {
	Payment, From, To, Purpose string
	Cents                      int64
}

func newOpened() opened {
	return opened{Owner: "Ada", IBAN: "DE02120300000000202051", Currency: "EUR"}
}

func newMoved() moved {
	return moved{
		Payment: annals.NewID(), From: "DE02120300000000202051", To: "DE02500105170137075030", Purpose: "rent", Cents: 100,
	}
}

// state is what the events of an account make of it, the same for every library.
type state struct {
	owner    string
	cents    int64
	payments int
}

func (s *state) open(e *opened) { s.owner = e.Owner }

func (s *state) move(e *moved) {
	s.cents += e.Cents
	s.payments++
}

// check returns an error if the account has not the events that it should have.
func (s *state) check(events int) error {
	if want := (state{"Ada", int64(100 * (events - 1)), events - 1}); *s != want {
		return fmt.Errorf("the account is %+v, want %+v", *s, want)
	}
	return nil
}
