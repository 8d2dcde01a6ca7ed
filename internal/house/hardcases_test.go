package house_test

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// hardCases reads docs/hard-cases.txt: "H10 finished what happens" or "H11 later what happens".
func hardCases(t *testing.T) map[string]string {
	t.Helper()
	file, err := os.Open(filepath.Join(testenv.Root(t), "docs", "hard-cases.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	states := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word := strings.Fields(line)
		if len(word) < 3 || !regexp.MustCompile(`^H[0-9]+$`).MatchString(word[0]) || (word[1] != "finished" && word[1] != "later") {
			t.Fatalf("docs/hard-cases.txt: %q is not `Hnn finished|later what happens`", line)
		}
		if states[word[0]] != "" {
			t.Errorf("docs/hard-cases.txt lists %s twice", word[0])
		}
		states[word[0]] = word[1]
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return states
}

func TestHardCasesHaveTests(t *testing.T) {
	states := hardCases(t)
	if len(states) < 48 {
		t.Errorf("docs/hard-cases.txt lists %d cases; there were 48 at the start, and none goes away", len(states))
	}
	tested := map[string]string{}
	for _, s := range sources(t) {
		if !s.isTest() {
			continue
		}
		for _, match := range regexp.MustCompile(`TestH([0-9]+)_`).FindAllStringSubmatch(strings.Join(testNames(s), " "), -1) {
			tested["H"+match[1]] = s.path
		}
	}
	for id, state := range states {
		switch {
		case state == "finished" && tested[id] == "":
			t.Errorf("%s is called finished, and no Test%s_… shows it", id, id)
		case state == "later" && tested[id] != "":
			t.Errorf("%s is called later, and %s tests it: call it finished", id, tested[id])
		}
	}
	for id, path := range tested {
		if states[id] == "" {
			t.Errorf("%s tests %s, which docs/hard-cases.txt does not list", path, id)
		}
	}
}
