//go:build unix && !linux

package main

import (
	"runtime"
	"syscall"
)

// peakResident returns the greatest resident memory that the process had, in
// bytes; 0 if it is not known.
func peakResident() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	peak := int64(usage.Maxrss)
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		peak <<= 10 // all others count kilobytes
	}
	return peak
}
