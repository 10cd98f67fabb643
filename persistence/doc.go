// Package persistence says what is stored and how: stored events, the interfaces
// of the recorders that read and write databases, and the mapper that turns
// events into stored events and back.
//
// Above it are Go types of events; below it are bytes and names only. Applications
// use it through package application. It is used directly by those who write a
// recorder, a transcoder, a compressor or a cipher.
package persistence
