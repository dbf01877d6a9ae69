//go:build unix

package pgserver

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// attributes make a command one of the user that the server runs as: another one where this is root.
func attributes() *syscall.SysProcAttr {
	uid, gid, ok := other()
	if !ok {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
}

// own gives a file to that user.
func own(path string) error {
	uid, gid, ok := other()
	if !ok {
		return nil
	}
	return os.Chown(path, int(uid), int(gid))
}

// other returns the user that Debian's packages make for the server, or the one that there always is for nobody's work.
func other() (uid, gid uint32, ok bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return uint32(uid), uint32(gid), true
		}
	}
	return 0, 0, false
}
