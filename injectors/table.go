package injectors

// Table is every fault of this build, one line each.
func Table() []Fault {
	return []Fault{
		Of(containerCrashAbout, containerCrash{}),
		Of(containerPauseAbout, containerPause{}),
		Of(containerRemoveAbout, containerRemove{}),
		Of(containerRestartAbout, containerRestart{}),
		Of(containerStopAbout, containerStop{}),
		Of(execAbout, ownCommand{}),
		Of(networkLatencyAbout, networkLatency{}),
		Of(processKillAbout, processKill{}),
		Of(processPauseAbout, processPause{}),
	}
}

// Find gives the fault of a kind.
func Find(kind string) (Fault, bool) {
	for _, f := range Table() {
		if f.About.Kind == kind {
			return f, true
		}
	}
	return Fault{}, false
}
