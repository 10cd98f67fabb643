//go:build unix

package git

import (
	"os/exec"
	"syscall"
)

// detach gives the command a process group of its own: Ctrl-C in a terminal goes
// to the program, which decides what becomes of its commands.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
