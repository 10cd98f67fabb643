//go:build !unix

package git

import "os/exec"

// detach does nothing: there are no process groups.
func detach(*exec.Cmd) {}
