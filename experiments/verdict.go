package experiments

// Verdict is an ordered value: the worst one wins.
type Verdict int

// The verdicts, best first.
const (
	Passed Verdict = iota
	Inconclusive
	Failed
)

func (v Verdict) String() string { return [...]string{"passed", "inconclusive", "failed"}[v] }

// MarshalText writes the verdict as its word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Worst gives the worst of several verdicts; of none, Passed.
func Worst(vs ...Verdict) Verdict {
	worst := Passed
	for _, v := range vs {
		worst = max(worst, v)
	}
	return worst
}

// Finding is a verdict with its reasons, one sentence each.
type Finding struct {
	Verdict Verdict  `json:"verdict"`
	Why     []string `json:"why"`
}

// Exit is a process exit code of this tool.
type Exit int

// The exit codes.
const (
	ExitPassed       Exit = 0
	ExitFailed       Exit = 1
	ExitUsage        Exit = 2 // bad input: nothing was started
	ExitInconclusive Exit = 3 // baseline broken, no targets, not confirmed, could not look
	ExitAborted      Exit = 4 // by a guard or by halt
	ExitRefused      Exit = 5 // by preflight: nothing was started
	ExitStillBroken  Exit = 6 // undo not verified
	ExitHup          Exit = 129
	ExitInt          Exit = 130
	ExitTerm         Exit = 143
)

// exitOrder is which code answers for several: the first one here that occurs.
var exitOrder = []Exit{ExitStillBroken, ExitHup, ExitInt, ExitTerm, ExitAborted, ExitFailed, ExitInconclusive, ExitRefused, ExitUsage, ExitPassed}

// WorstExit gives the code that answers for several.
func WorstExit(codes ...Exit) Exit {
	for _, worst := range exitOrder {
		for _, c := range codes {
			if c == worst {
				return c
			}
		}
	}
	return ExitPassed
}
