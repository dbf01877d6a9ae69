//go:build !unix

package main

import (
	"errors"
	"time"
)

func ownCPU() (time.Duration, error) { return 0, errors.ErrUnsupported }
