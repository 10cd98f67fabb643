package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-es/annals/examples/githistory/archive"
	"github.com/annals-es/annals/examples/githistory/git"
)

type verifyCommand struct {
	where

	Samples int `default:"10" help:"How many earlier commits to compare beside HEAD. Default: ${default}." placeholder:"N"`
}

// Validate is called before Run.
func (cmd *verifyCommand) Validate() error {
	if cmd.Samples < 0 {
		return errors.New("--samples must not be negative")
	}
	return nil
}

// Run compares, and prints what agrees.
func (cmd *verifyCommand) Run(ctx context.Context, c console) error {
	return cmd.open(ctx, c, false, codecs{}, func(repo *git.Repository, a *archive.Archive) error {
		report, err := a.Verify(ctx, repo, cmd.Samples)
		if err != nil {
			return err
		}
		if report.Head == "" {
			fmt.Fprintln(c.stdout, "nothing to verify: the repository has no commits yet")
			return nil
		}
		if report.Before > 0 {
			fmt.Fprintf(c.stdout, "the %d oldest commits are not in the record: the repository was shallow when it was imported\n",
				report.Before)
		}
		fmt.Fprintf(c.stdout, "%d commits are recorded\n", report.Recorded)
		fmt.Fprintf(c.stdout, "%d of %d compared commits agree\n", report.CommitsAgree, report.Commits)
		fmt.Fprintf(c.stdout, "%d of %d paths at these commits agree\n", report.PathsAgree, report.Paths)
		fmt.Fprintf(c.stdout, "%d of %d paths at HEAD agree when loaded one by one\n", report.AggregatesAgree, report.Aggregates)
		if report.First != nil {
			return fmt.Errorf("first difference: %v", report.First)
		}
		return nil
	})
}
