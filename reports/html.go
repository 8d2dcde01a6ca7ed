package reports

import "io"

func HTML(w io.Writer, s Summary) error { return nil }
