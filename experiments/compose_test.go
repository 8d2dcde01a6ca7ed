package experiments_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/faultline-sh/faultline/experiments"
)

func TestWordsBecomeSettingsOfTheirPlacesTypes(t *testing.T) {
	for name, row := range map[string]struct{ words, want string }{
		"a key of select needs no select":     {"name=web", `{"select":{"name":"web"}}`},
		"digits are text where text stands":   {"name=123", `{"select":{"name":"123"}}`},
		"digits are a number where one is":    {"pid=123", `{"select":{"pid":123}}`},
		"the keys of a map may hold dots":     {"labels.com.docker.compose.service=web", `{"select":{"labels":{"com.docker.compose.service":"web"}}}`},
		"a path goes below a pointer":         {"shop.shop.name=x", `{"select":{"shop":{"shop":{"name":"x"}}}}`},
		"a length is text":                    {"delay=100ms", `{"delay":"100ms"}`},
		"a length without unit is a number":   {"delay=100", `{"delay":100}`},
		"a share and a pick are as written":   {"loss=5% pick=50%", `{"loss":"5%","pick":"50%"}`},
		"a list has commas":                   {"to=a,b to=c", `{"to":["a","b","c"]}`},
		"a list is written as one":            {"to=[a,b]", `{"to":["a","b"]}`},
		"true is true where that may stand":   {"force=true note=true", `{"force":true,"note":"true"}`},
		"what reads itself takes a number":    {"signal=15", `{"signal":15}`},
		"what fits nowhere stays for parsing": {"delai=5ms", `{"delai":"5ms"}`},
		"an equals sign may be in a value":    {"note=a=b", `{"note":"a=b"}`},
	} {
		got, err := experiments.ComposeSettings(new(shopSettings), strings.Fields(row.words))
		if err != nil || string(got) != row.want {
			t.Errorf("%s: %s gave %s, %v; want %s", name, row.words, got, err, row.want)
		}
	}
	for name, words := range map[string]string{
		"no equals sign": "name", "no key": "=x", "a key given twice": "name=a name=b", "a value that has keys": "note=a note.b=c", "half a list": "to=[a",
	} {
		if got, err := experiments.ComposeSettings(new(shopSettings), strings.Fields(words)); err == nil {
			t.Errorf("%s: %s gave %s", name, words, got)
		}
	}
}

func FuzzComposeSettings(f *testing.F) {
	for _, words := range []string{"name=web pid=1", "to=[a,{b: c}]", "labels.a.b=c", "a..b=", "signal=[", "to={a: .nan}", "pick=1.", "select=x select.name=y"} {
		f.Add(words)
	}
	f.Fuzz(func(t *testing.T, words string) {
		raw, err := experiments.ComposeSettings(new(shopSettings), strings.Fields(words))
		if err == nil && !json.Valid(raw) {
			t.Errorf("%q gave %s", words, raw)
		}
	})
}
