package packaging_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// read is a file of the app.
func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("yunohost", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parse reads a TOML file of the app.
func parse(t *testing.T, text string) (all map[string]any) {
	t.Helper()
	if err := toml.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// at is what stands at a name in a table.
func at(table map[string]any, name string) any {
	var value any = table
	for part := range strings.SplitSeq(name, ".") {
		value = value.(map[string]any)[part]
	}
	return value
}

// TestYunoHostManifest holds what YunoHost must know of the app, and that it is said of
// the packages that are built.
func TestYunoHostManifest(t *testing.T) {
	manifest := parse(t, read(t, "manifest.toml"))
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	built := regexp.MustCompile(`(?m)^ARCHES +=(.*)$`).FindStringSubmatch(string(makefile))
	got := map[string]string{}
	for _, name := range []string{
		"packaging_format", "id", "version", "integration.helpers_version", "integration.architectures",
		"integration.multi_instance", "upstream.license",
	} {
		got[name] = fmt.Sprint(at(manifest, name))
	}
	want := map[string]string{
		"packaging_format": "2", "id": "netwatch", "version": "__VERSION__~ynh1",
		"integration.helpers_version": "2.1", "integration.architectures": fmt.Sprint(strings.Fields(built[1])),
		"integration.multi_instance": "false", "upstream.license": "MIT",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("wanted (-) and got (+):\n%s", diff)
	}
	if asked := at(manifest, "install").(map[string]any); len(asked) > 0 {
		t.Errorf("the installation asks what can be found out: %v", asked)
	}
}

// inBoth says which texts for people are not there in English and in French alike.
func inBoth(table map[string]any, path string) (wrong []string) {
	for name, value := range table {
		switch value := value.(type) {
		case map[string]any:
			_, en := value["en"]
			_, fr := value["fr"]
			if en != fr || en && value["en"] == value["fr"] && value["en"] != "netwatch" {
				wrong = append(wrong, path+name)
			}
			wrong = append(wrong, inBoth(value, path+name+".")...)
		case string:
			if slices.Contains([]string{"ask", "help", "description"}, name) {
				wrong = append(wrong, path+name)
			}
		}
	}
	return wrong
}

// TestYunoHostLanguages holds that who reads French is told what others are.
func TestYunoHostLanguages(t *testing.T) {
	for _, file := range []string{"manifest.toml", "config_panel.toml"} {
		if wrong := inBoth(parse(t, read(t, file)), ""); wrong != nil {
			t.Errorf("%s: not in English and in French: %v", file, wrong)
		}
	}
	for _, file := range []string{"README", "doc/DESCRIPTION", "doc/PRE_INSTALL", "doc/ADMIN"} {
		if diff := cmp.Diff(shape(read(t, file+".md")), shape(read(t, file+"_fr.md"))); diff != "" {
			t.Errorf("%s.md (-) and %s_fr.md (+) are not the same but for the language:\n%s", file, file, diff)
		}
	}
}

// shape is what a text has in common with itself in another language: how each paragraph
// begins, and the commands of a table.
func shape(text string) (all []string) {
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "# "), strings.HasPrefix(line, "- "), strings.HasPrefix(line, "sudo"):
			all = append(all, line[:2])
		case strings.HasPrefix(line, "|"):
			all = append(all, strings.Join(regexp.MustCompile("`netwatch[^`]*`").FindAllString(line, -1), " "))
		case line == "\n":
			all = append(all, "")
		}
	}
	return all
}

// options are the options of the panel.
func options(table map[string]any) map[string]map[string]any {
	all := map[string]map[string]any{}
	for name, value := range table {
		if value, ok := value.(map[string]any); ok {
			if value["type"] != nil {
				all[name] = value
			}
			maps.Copy(all, options(value))
		}
	}
	return all
}

// TestYunoHostPanel holds that the script knows each option of the panel, and no other.
func TestYunoHostPanel(t *testing.T) {
	script := read(t, "scripts/config")
	all := options(parse(t, read(t, "config_panel.toml")))
	if len(all) < 10 {
		t.Fatalf("there are only %v", all)
	}
	for name, option := range all {
		kind := option["type"]
		wanted := map[string]int{"get__" + name + "()": 1, "run__" + name + "()": 0}
		if kind == "button" {
			wanted = map[string]int{"get__" + name + "()": 0, "run__" + name + "()": 1}
		}
		if set := regexp.MustCompile(`(?m)^\twanted \S+ ` + name + `$`); kind == "string" && !set.MatchString(script) {
			t.Errorf("%s is not set", name)
		}
		for text, times := range wanted {
			if got := strings.Count(script, text); got != times {
				t.Errorf("%s, a %s: %q is there %d times", name, kind, text, got)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:get|run)__([a-z_]+)\(\)`).FindAllStringSubmatch(script, -1) {
		if all[m[1]] == nil {
			t.Errorf("the panel has no %s", m[1])
		}
	}
}

// TestYunoHostErrorsAreShown holds that each text has a rule in the panel, which lets all
// through: the web administration shows no error of ours beside a field that has none.
func TestYunoHostErrorsAreShown(t *testing.T) {
	for name, option := range options(parse(t, read(t, "config_panel.toml"))) {
		if option["type"] != "string" {
			continue
		}
		pattern, _ := option["pattern"].(map[string]any)
		rule, _ := pattern["regexp"].(string)
		for _, text := range []string{"", "soon", `"é" ['`} {
			if rule == "" || !regexp.MustCompile(rule).MatchString(text) {
				t.Errorf("%s has the rule %q, which does not take %q", name, rule, text)
			}
		}
	}
}

// TestYunoHostScriptsAreNoPrograms holds that no script of the app is run as a program by its
// name: YunoHost has them all with mode 400.
func TestYunoHostScriptsAreNoPrograms(t *testing.T) {
	run := regexp.MustCompile(`(\S+ |")\S*/apps/netwatch/scripts/`)
	found := 0
	for file, text := range files(t, "yunohost/scripts") {
		for _, m := range run.FindAllStringSubmatch(text, -1) {
			if found++; !strings.HasSuffix(m[1], "bash ") {
				t.Errorf("%s has %s", file, m[0])
			}
		}
	}
	if found == 0 {
		t.Error("nothing is run")
	}
}

// TestYunoHostBuild holds what "make yunohost" makes of the packages: all of them in it and
// no older one, the version as YunoHost compares it, and the hook that init writes.
func TestYunoHostBuild(t *testing.T) {
	for of, want := range map[string]string{
		"1.2.0":                            "1.2.0~ynh1",
		"1.2.0~rc1":                        "1.2.0rc1~ynh1",
		"0.0.0+git20270131.101112+3f2a9c1": "0.0.0+git20270131.101112.3f2a9c1~ynh1",
	} {
		app := buildApp(t, of)
		if got := at(parse(t, app["manifest.toml"]), "version"); got != want {
			t.Errorf("the version of %s is %v, not %s", of, got, want)
		}
		wanted := map[string]string{}
		for _, arch := range []string{"amd64", "arm64"} {
			wanted["netwatch_"+of+"-1_"+arch+".deb"] = arch + "\n"
		}
		if diff := cmp.Diff(wanted, below(app, "conf/")); diff != "" {
			t.Errorf("packages that are wanted (-) and there (+):\n%s", diff)
		}
		hook, err := os.ReadFile("../contrib/yunohost/50-netwatch")
		if err != nil || app["hooks/post_cert_update"] != string(hook) {
			t.Errorf("the hook is not that of contrib: %v", err)
		}
	}
}

// debs stands in for packaging/deb/build, which takes a while.
const debs = `#!/bin/sh
for arch; do
	echo $arch >"$DIST/netwatch_$VERSION-1_$arch.deb"
	echo "$DIST/netwatch_$VERSION-1_$arch.deb"
done
`

// buildApp has make build the app of a version, beside packages of older and newer ones, and
// returns all its files.
func buildApp(t *testing.T, version string) map[string]string {
	t.Helper()
	tree := t.TempDir()
	for name, text := range map[string]string{
		"packaging/deb/build": debs, "packaging/compile": "", "tools/need-go": "",
		"di st/netwatch_0.1-1_amd64.deb": "old", "di st/netwatch_9.9-1_armhf.deb": "new",
	} {
		file := filepath.Join(tree, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"Makefile": "../Makefile", "LICENSE": "../LICENSE", "contrib": "../contrib", "packaging/yunohost": "yunohost",
	} {
		to, err := filepath.Abs(to)
		if err != nil || os.Symlink(to, filepath.Join(tree, link)) != nil {
			t.Fatal(link, err)
		}
	}
	cmd := exec.Command("make", "-sC", tree, "yunohost", "VERSION="+version, "ARCHES=amd64 arm64", "DIST=di st")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return files(t, filepath.Join(tree, "di st/netwatch_ynh"))
}

// files are those below a directory, with what is in them.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// below are the files of a directory among others.
func below(all map[string]string, dir string) map[string]string {
	some := map[string]string{}
	for name, text := range all {
		if base, ok := strings.CutPrefix(name, dir); ok {
			some[base] = text
		}
	}
	return some
}
