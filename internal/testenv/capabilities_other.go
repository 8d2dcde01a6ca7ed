//go:build !linux

package testenv

import "errors"

var errNotLinux = errors.New("only Linux has it")

func tryRoot() error    { return errNotLinux }
func tryPidfd() error   { return errNotLinux }
func tryNetns() error   { return errNotLinux }
func tryMicroVM() error { return errNotLinux }
