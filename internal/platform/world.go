package platform

import "fmt"

// Open gives this machine as it is. It connects to nothing yet.
func Open() (*World, error) {
	host, err := NewHost()
	if err != nil {
		return nil, fmt.Errorf("look at this host: %w", err)
	}
	processes := NewProcesses(host)
	return &World{Host: host, Processes: processes, Commands: NewCommands(), Engine: NewDocker(processes)}, nil
}
