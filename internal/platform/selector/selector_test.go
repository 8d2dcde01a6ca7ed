package selector

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/twin"
)

func TestAProcessMatchesWhenEveryKeyHolds(t *testing.T) {
	nginx := platform.Process{
		PID: 412, Exe: "/usr/sbin/nginx", Args: []string{"nginx", "-g", "daemon off;"}, User: "www-data", UID: 33,
		Cgroup: "/system.slice/nginx.service", Unit: "nginx.service", Ports: []int{80, 443},
	}
	hidden := platform.Process{PID: 413, UID: 33, User: "www-data", Unread: []string{"exe", "args"}}
	for _, row := range []struct {
		name    string
		s       Process
		p       platform.Process
		matches bool
		unread  string
	}{
		{"by pid", Process{PID: 412}, nginx, true, "[]"},
		{"another pid", Process{PID: 41}, nginx, false, "[]"},
		{"by base name", Process{Exe: "nginx"}, nginx, true, "[]"},
		{"by path", Process{Exe: "/usr/sbin/nginx"}, nginx, true, "[]"},
		{"a part of the name is not the name", Process{Exe: "ngin"}, nginx, false, "[]"},
		{"by one whole argument", Process{Arg: "daemon off;"}, nginx, true, "[]"},
		{"a part of an argument is not the argument", Process{Arg: "daemon"}, nginx, false, "[]"},
		{"by a regular expression over all arguments", Process{Cmdline: "^nginx .* off;$"}, nginx, true, "[]"},
		{"by port", Process{Port: 443}, nginx, true, "[]"},
		{"by user's name", Process{User: "www-data"}, nginx, true, "[]"},
		{"by user's number", Process{User: "33"}, nginx, true, "[]"},
		{"by a cgroup above", Process{Cgroup: "/system.slice"}, nginx, true, "[]"},
		{"a cgroup's name that begins the same is another one", Process{Cgroup: "/system"}, nginx, false, "[]"},
		{"by unit, with and without its type", Process{Unit: "nginx"}, nginx, true, "[]"},
		{"one key that does not hold rules it out", Process{Exe: "nginx", Port: 8080}, nginx, false, "[]"},
		{"what could not be read does not match, and is named", Process{Exe: "nginx", Arg: "x"}, hidden, false, "[exe args]"},
		{"unless another key rules it out", Process{Exe: "nginx", User: "root"}, hidden, false, "[]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, err := row.s.Matcher(twin.NewHost())
			if err != nil {
				t.Fatal(err)
			}
			matches, unread, stale := m.Match(row.p)
			if matches != row.matches || fmt.Sprint(unread) != row.unread || stale != "" {
				t.Errorf("matches %v, unread %v, stale %q; want %v, %s", matches, unread, stale, row.matches, row.unread)
			}
		})
	}
}

func TestAPidfileMeansTheProcessThatWroteIt(t *testing.T) {
	host := twin.NewHost()
	file := filepath.Join(t.TempDir(), "server.pid")
	if err := os.WriteFile(file, []byte("412\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Process{Pidfile: file}.Matcher(host)
	if err != nil {
		t.Fatal(err)
	}
	now := host.Boottime()
	if matches, _, stale := m.Match(platform.Process{PID: 412, Born: now.Add(-time.Minute)}); !matches || stale != "" {
		t.Errorf("the process that wrote it does not match (%s)", stale)
	}
	if matches, _, stale := m.Match(platform.Process{PID: 412, Born: now.Add(time.Minute)}); matches || stale == "" {
		t.Error("a younger process with the same pid matches")
	}
	if m, err := (Process{Pidfile: file, PID: 7}).Matcher(host); err != nil || m.Nobody == "" {
		t.Errorf("the file and pid contradict each other, and that is not said: %v", err)
	}
	if m, err := (Process{Pidfile: file + ".none"}).Matcher(host); err != nil || m.Nobody == "" {
		t.Errorf("there is no file, and that is not said: %v", err)
	}
	if err := os.WriteFile(file, []byte("nginx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Process{Pidfile: file}).Matcher(host); err == nil {
		t.Error("a file without a pid is taken for one")
	}
}

func TestAContainerMatchesWhenEveryKeyHolds(t *testing.T) {
	web := platform.Container{
		ID: "0123456789abcdef", Name: "shop-web-1", Image: "registry:5000/shop/web:1.2", Labels: map[string]string{"app": "web", "empty": ""},
		Project: "shop", Service: "web",
	}
	for _, row := range []struct {
		name    string
		s       Container
		matches bool
	}{
		{"by name", Container{Name: "shop-web-1"}, true},
		{"a part of the name is not the name", Container{Name: "shop-web"}, false},
		{"by a regular expression on the name", Container{Regexp: "^shop-web-"}, true},
		{"by the beginning of its ID", Container{ID: "012345"}, true},
		{"by labels", Container{Labels: map[string]string{"app": "web", "empty": ""}}, true},
		{"a label that is not there is not an empty one", Container{Labels: map[string]string{"none": ""}}, false},
		{"by image", Container{Image: "registry:5000/shop/web:1.2"}, true},
		{"by image without its tag", Container{Image: "registry:5000/shop/web"}, true},
		{"a registry's port is no tag", Container{Image: "registry"}, false},
		{"by compose service", Container{Compose: &Compose{Service: "web"}}, true},
		{"of another project", Container{Compose: &Compose{Project: "blog", Service: "web"}}, false},
		{"one key that does not hold rules it out", Container{Name: "shop-web-1", Labels: map[string]string{"app": "db"}}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			matches, err := row.s.Matcher()
			if err != nil {
				t.Fatal(err)
			}
			if got := matches(web); got != row.matches {
				t.Errorf("matches %v, want %v", got, row.matches)
			}
		})
	}
}
