//go:build !unix

package pgserver

import "syscall"

// Other systems start the server as the user of this process.
func attributes() *syscall.SysProcAttr { return nil }

func own(string) error { return nil }
