// Package microvm runs a package's tests under another kernel: Debian's cloud
// kernel in an emulated machine whose whole disk is the test binary, a few
// kernel modules and a first program. Nothing is installed; the kernel package
// is downloaded with apt and unpacked.
//
// Only tests import it. It refuses to call a test passed that it has not seen
// pass in the machine's own output.
package microvm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// Inside says whether this process runs in the machine.
func Inside() bool { return os.Getenv("FAULTLINE_MICROVM") == "inside" }

// Tests is a package whose tests of one name pattern run in one boot.
type Tests struct {
	Package string   // from the module's root: "./internal/platform/netfault"
	Run     string   // the pattern of -test.run
	Modules []string // kernel modules they need, without .ko; what these need comes along

	once    sync.Once
	outcome outcome
}

type outcome struct {
	err     error
	output  string
	results map[string]string // test to PASS, FAIL or SKIP
}

// Test runs f in the machine: inside it calls f; outside it boots the machine
// once for all tests of the pattern and takes this test's result from there.
func (v *Tests) Test(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if Inside() {
		f(t)
		return
	}
	testenv.Require(t, "microvm")
	root := testenv.Root(t)
	v.once.Do(func() { v.outcome = v.boot(root) })
	if v.outcome.err != nil {
		t.Fatalf("micro-VM: %v\n%s", v.outcome.err, v.outcome.output)
	}
	switch result := v.outcome.results[t.Name()]; result {
	case "PASS":
		t.Log(only(v.outcome.output, t.Name()))
	case "":
		t.Fatalf("micro-VM: %s did not run there (does the pattern %q match it?)\n%s", t.Name(), v.Run, v.outcome.output)
	default: // a skip too: what the machine is for must run there
		t.Fatalf("micro-VM: %s: %s\n%s", t.Name(), result, only(v.outcome.output, t.Name()))
	}
}

const bootLimit = 8 * time.Minute // a busy machine builds and emulates slowly

func (v *Tests) boot(root string) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), bootLimit)
	defer cancel()
	work, err := os.MkdirTemp("", "faultline-microvm-")
	if err != nil {
		return outcome{err: err}
	}
	defer os.RemoveAll(work)
	kernel, image, err := v.prepare(ctx, root, work)
	if err != nil {
		return outcome{err: err}
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-m", "512", "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot",
		"-serial", "stdio", "-kernel", kernel, "-initrd", image, "-append", "console=ttyS0 quiet loglevel=1 panic=-1 reboot=t no_timer_check")
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return outcome{err: fmt.Errorf("run the emulator: %w", err), output: output.String()}
	}
	return read(output.String())
}

// prepare builds the two programs and packs them with the modules.
func (v *Tests) prepare(ctx context.Context, root, work string) (kernel, image string, err error) {
	debian, err := unpackKernel(ctx)
	if err != nil {
		return "", "", err
	}
	test, guest := filepath.Join(work, "test"), filepath.Join(work, "init")
	for _, args := range [][]string{
		{"test", "-c", "-o", test, v.Package},
		{"build", "-o", guest, "./internal/testenv/microvm/guest"},
	} {
		if err := goTool(ctx, root, args...); err != nil {
			return "", "", err
		}
	}
	modules, err := debian.withNeeded(v.Modules)
	if err != nil {
		return "", "", err
	}
	order := make([]string, 0, len(modules))
	files := []file{{name: "init", from: guest}, {name: "test", from: test}}
	for _, m := range modules {
		order = append(order, filepath.Base(m))
		files = append(files, file{name: "modules/" + filepath.Base(m), from: m})
	}
	files = append(files,
		file{name: "modules/order", content: []byte(strings.Join(order, "\n"))},
		file{name: "args", content: []byte("-test.v\n-test.timeout=3m\n-test.run=" + v.Run)})
	image = filepath.Join(work, "initramfs")
	return debian.kernel, image, pack(image, files)
}

func goTool(ctx context.Context, root string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

var (
	resultLine = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+) \(`)
	exitLine   = regexp.MustCompile(`(?m)^faultline-guest: exit (\d+)\r?$`)
)

// read takes the results from the console. A machine that did not come to its
// end has no results; a test binary that failed as a whole fails every test.
func read(output string) outcome {
	output = strings.ReplaceAll(output, "\r\n", "\n")
	o := outcome{output: output, results: map[string]string{}}
	exit := exitLine.FindStringSubmatch(output)
	if exit == nil {
		o.err = fmt.Errorf("it ended before the tests did")
		return o
	}
	for _, m := range resultLine.FindAllStringSubmatch(output, -1) {
		o.results[m[2]] = m[1]
	}
	if len(o.results) == 0 {
		o.err = fmt.Errorf("no test ran, exit %s", exit[1])
	}
	return o
}

// only gives the part of the output that belongs to one test.
func only(output, test string) string {
	from := strings.Index(output, "=== RUN   "+test+"\n")
	if from < 0 {
		return output
	}
	part := output[from:]
	for _, end := range []string{"\n--- PASS: " + test + " ", "\n--- FAIL: " + test + " ", "\n--- SKIP: " + test + " "} {
		if i := strings.Index(part, end); i >= 0 {
			rest := part[i:]
			if next := strings.Index(rest, "\n=== RUN"); next >= 0 {
				return part[:i+next]
			}
			return part
		}
	}
	return part
}
