package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/annals-es/annals/examples/githistory/archive"
	"github.com/annals-es/annals/examples/githistory/git"
	"github.com/annals-es/annals/examples/githistory/history"
)

type showCommand struct {
	where

	Path raw `arg:"" help:"The path, from the root of the repository."`

	At raw `help:"Show the path as of this commit: any name that git knows." placeholder:"COMMIT" xor:"until"`

	Version int64 `help:"Show the path as of this version." placeholder:"N" xor:"until"`
}

// Run prints the events of a path, and what they come to.
func (cmd *showCommand) Run(ctx context.Context, c console) error {
	return cmd.open(ctx, c, false, codecs{}, func(repo *git.Repository, a *archive.Archive) error {
		life, err := a.Life(ctx, history.Path(cmd.Path))
		if err != nil {
			return err
		}
		version, asOf := int64(len(life)), ""
		switch {
		case cmd.At != "":
			commit, err := repo.Resolve(ctx, string(cmd.At))
			if err != nil {
				return err
			}
			if version, err = a.VersionAt(ctx, repo, life, commit); err != nil {
				return err
			}
			asOf = "at commit " + string(commit)
		case cmd.Version != 0:
			version, asOf = cmd.Version, fmt.Sprintf("at version %d", cmd.Version)
		}
		var content history.Content
		if version != 0 {
			state, err := a.State(ctx, history.Path(cmd.Path), version)
			if err != nil {
				return err
			}
			content = state.Content
		}
		fmt.Fprintln(c.stdout, printable(string(cmd.Path)))
		for _, step := range life[:version] {
			printStep(c.stdout, &step)
		}
		if asOf == "" {
			asOf = "now"
		}
		fmt.Fprintf(c.stdout, "%s: %v\n", asOf, content)
		return nil
	})
}

// printStep prints a line: version, time, commit, what happened, what is there, and
// who did it.
func printStep(w io.Writer, s *archive.Step) {
	what := s.What
	switch {
	case s.From != "":
		what += " from " + printable(string(s.From))
	case s.To != "":
		what += " to " + printable(string(s.To))
	}
	fmt.Fprintf(w, "%6d  %s  %s  %s %s  %s, by %s\n", s.Version, s.Time.Format("2006-01-02 15:04:05Z"),
		s.Touch.Commit.Short(), s.Touch.Mode, s.Touch.Blob.Short(), what, printable(string(s.Touch.Author)))
}

// printable returns the text as it is if it can stand in a line as it is, and
// quoted as in Go if not.
func printable(s string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == '"' || r == '\\' }
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, odd) || strings.TrimSpace(s) != s {
		return strconv.Quote(s)
	}
	return s
}
