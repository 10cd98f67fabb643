//go:build unix && !linux

package pgserver

import (
	"fmt"
	"os/exec"
	"strings"
)

// processes calls visit for every process that runs. One that has ended, and was not
// waited for, does not run.
func processes(visit func(pid, parent int)) error {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=").Output() //nolint:noctx // it prints a table
	if err != nil {
		return fmt.Errorf("ps: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		var pid, parent int
		var state string
		if _, err := fmt.Sscan(line, &pid, &parent, &state); err != nil {
			return fmt.Errorf("ps says %q: %w", line, err)
		}
		if !strings.HasPrefix(state, "Z") {
			visit(pid, parent)
		}
	}
	return nil
}
