package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// printTable does every workload on every store, and prints a row for each: rates, and
// how many times as fast ours is as the best of the others, with the bounds of what the
// middle half of the turns gave.
func printTable(ctx context.Context, p places, o options, out, notes io.Writer) error {
	heads, rule := []string{"store", "workload", ""}, []string{"---", "---", "---"}
	for _, l := range libraries() {
		heads, rule = append(heads, l.name), append(rule, "--:")
	}
	fmt.Fprintln(out, line(append(heads, "ours / best peer")))
	fmt.Fprintln(out, line(append(rule, "--:")))
	for _, k := range o.stores {
		for _, w := range workloads() {
			fmt.Fprintf(notes, "%s: %s\n", k, w.name)
			cells, err := measure(ctx, p, o, k, w)
			if err != nil {
				return err
			}
			fmt.Fprintln(out, line(cells))
		}
	}
	return nil
}

func line(cells []string) string { return "| " + strings.Join(cells, " | ") + " |" }

// measure returns the cells of a row.
func measure(ctx context.Context, p places, o options, k kind, w workload) (_ []string, err error) {
	c, err := newContest(ctx, p, k, w)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	for range o.turns {
		if err := errors.Join(ctx.Err(), c.turn()); err != nil {
			return nil, err
		}
	}
	cells := []string{string(k), w.name, w.unit}
	for _, l := range libraries() {
		cell := "–"
		if i := slices.IndexFunc(c.libraries, func(other library) bool { return other.name == l.name }); i >= 0 {
			cell = rounded(c.rate(i))
		}
		cells = append(cells, cell)
	}
	ratio := "–"
	if best := c.bestPeer(); best > 0 {
		r := c.turns.Ratio(0, best)
		ratio = fmt.Sprintf("%.2f (%.2f–%.2f)", r.Median, r.Low, r.High)
	}
	return append(cells, ratio), nil
}

// rounded returns a rate with the three digits that mean something.
func rounded(rate float64) string {
	last := int(math.Floor(math.Log10(rate))) - 2 // the place of the third digit
	unit := math.Pow10(last)
	text := strconv.FormatFloat(math.Round(rate/unit)*unit, 'f', max(0, -last), 64)
	if last < 0 {
		return text
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// printLost prints, for each library that has a log on PostgreSQL, what a reader of it
// lost.
func printLost(ctx context.Context, p places, o options, out io.Writer) error {
	fmt.Fprintf(out, "\nA reader that follows the log on PostgreSQL while %d goroutines save:\n\n", writers)
	for _, l := range libraries() {
		if l.on[onPostgres] == nil {
			continue
		}
		w, err := watch(ctx, p, l, onPostgres, o.events)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "- %s: %d events saved, %d of them never seen\n", l.name, w.stored, w.lost)
	}
	return nil
}
