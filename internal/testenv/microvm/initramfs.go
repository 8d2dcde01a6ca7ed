package microvm

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
)

// file is one file of the machine's disk; its content, or that of another file.
type file struct {
	name    string
	from    string
	content []byte
}

// pack writes an initramfs: a cpio archive of the "newc" form, which the kernel
// unpacks into memory. All files can be executed.
func pack(image string, files []file) (err error) {
	out, err := os.Create(image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := bufio.NewWriter(out)
	made := map[string]bool{".": true}
	number := 1
	add := func(name string, mode int, content []byte) {
		fmt.Fprintf(w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
			number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		number++
		w.WriteString(name + "\x00")
		pad(w, 110+len(name)+1)
		w.Write(content)
		pad(w, len(content))
	}
	for _, f := range files {
		if dir := path.Dir(f.name); !made[dir] {
			made[dir] = true
			add(dir, 0o40755, nil)
		}
		if f.from != "" {
			if f.content, err = os.ReadFile(f.from); err != nil {
				return err
			}
		}
		add(f.name, 0o100755, f.content)
	}
	// The kernel writes the first program's output here.
	add("dev", 0o40755, nil)
	fmt.Fprintf(w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		number, 0o20600, 0, 0, 1, 0, 0, 0, 0, 5, 1, len("dev/console")+1, 0)
	w.WriteString("dev/console\x00")
	pad(w, 110+len("dev/console")+1)
	add("TRAILER!!!", 0, nil)
	return w.Flush() // the writer keeps the first error of all writes
}

func pad(w *bufio.Writer, length int) {
	for ; length%4 != 0; length++ {
		w.WriteByte(0)
	}
}
