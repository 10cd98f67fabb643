package pgserver

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// processes calls visit for every process that runs. One that has ended, and was not
// waited for, does not run.
func processes(visit func(pid, parent int)) error {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, folder := range folders {
		// PID (NAME) STATE PARENT …, where the name may contain anything. A process that
		// has gone in the meantime has no file.
		line, err := os.ReadFile(filepath.Join(folder, "stat"))
		if err != nil {
			continue
		}
		fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
		if len(fields) < 2 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			return err
		}
		parent, err := strconv.Atoi(string(fields[1]))
		if err != nil {
			return err
		}
		visit(pid, parent)
	}
	return nil
}
