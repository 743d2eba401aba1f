//go:build lab

package lab

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
)

// domain is the name in all certificates of these tests.
const domain = "matrix.example.org"

// A way is how a program puts a renewed certificate into place.
type way struct {
	// name is the program's, in letters that a source can be called by.
	name string
	// file and key are the certificate and its key as a server is told of them.
	file, key string
	// put puts the n-th certificate into place; at 0 nothing is there yet. It
	// returns the new pair where the test itself has made it.
	put func(ctx context.Context, n int) (Pair, error)
}

// The ways but certbot's.
var (
	yunohost   = script("yunohost", "/etc/yunohost/certs/"+domain, "crt.pem", "key.pem", "python3", "-c", yunohostRenews)
	acmesh     = script("acmesh", "/etc/lab-acmesh", "fullchain.pem", "privkey.pem", "sh", "-ec", acmeshRenews, "sh")
	kubernetes = script("kubernetes", "/etc/lab-kubernetes", "tls.crt", "tls.key", "sh", "-ec", kubernetesRenews, "sh")
	editor     = script("editor", "/etc/lab-editor", "cert.pem", "key.pem", "sh", "-ec", editorRenews, "sh")
)

// certbot renews through the symlinks of live/.
func certbot(acme *ACME) way {
	const live = "/etc/letsencrypt/live/" + domain
	return way{"certbot", live + "/fullchain.pem", live + "/privkey.pem", func(ctx context.Context, n int) (Pair, error) {
		if n == 0 {
			return Pair{}, acme.Obtain(ctx, domain)
		}
		return Pair{}, acme.Renew(ctx)
	}}
}

// A script is a way whose program is called with the directory of the
// certificate, the new certificate, the new key and the number.
func script(name, dir, file, key string, program ...string) way {
	return way{name, path.Join(dir, file), path.Join(dir, key), func(ctx context.Context, n int) (Pair, error) {
		pair, err := NewPair(domain)
		if err != nil {
			return Pair{}, err
		}
		from := "/var/lib/lab-new/" + path.Base(dir)
		for name, content := range map[string]string{"/crt.pem": pair.Cert, "/key.pem": pair.Key} {
			if err := server.WriteFile(from+name, content, 0o600); err != nil {
				return Pair{}, err
			}
		}
		args := slices.Concat(program, []string{dir, from + "/crt.pem", from + "/key.pem", strconv.Itoa(n)})
		if _, err := server.Exec(ctx, args...); err != nil {
			return Pair{}, fmt.Errorf("renewing by %s: %w", name, err)
		}
		return pair, nil
	}}
}

// yunohostRenews does what YunoHost does, with the same calls: a new directory
// with its odd mode, the key moved and the certificate written into it, and a
// moment without any link until it is there (facts of yunohost/certificate.py).
const yunohostRenews = `
import os, shutil, sys
link, new_crt, new_key, number = sys.argv[1:]
folder = f"{link}-history/{number}-letsencrypt"
os.makedirs(folder)
os.chmod(folder, 0o655)
key = os.path.join(folder, "key.pem")
shutil.move(new_key, key)
shutil.chown(key, "root", "ssl-cert")
os.chmod(key, 0o640)
with open(new_crt) as content, open(os.path.join(folder, "crt.pem"), "w") as crt:
    crt.write(content.read())
if os.path.lexists(link):
    os.remove(link)
os.symlink(folder, link)
`

// acmeshRenews writes into the files that are there, as acme.sh's install-cert
// does, in its order: certificate, key, chain.
const acmeshRenews = `
mkdir -p "$1"
cat "$2" >"$1/cert.pem"
cat "$3" >"$1/privkey.pem"
cat "$2" >"$1/fullchain.pem"
`

// kubernetesRenews swaps the symlink that both files lead through, as kubelet
// does with a secret that is mounted as a volume.
const kubernetesRenews = `
mkdir -p "$1/..$4"
cp "$2" "$1/..$4/tls.crt"
cp "$3" "$1/..$4/tls.key"
old=$(readlink "$1/..data" || true)
ln -s "..$4" "$1/..data_tmp"
mv -T "$1/..data_tmp" "$1/..data"
test -n "$old" || ln -s ..data/tls.crt ..data/tls.key "$1"
test -z "$old" || rm -r "${1:?}/$old"
`

// editorRenews puts one file in the place of the other, certificate first.
const editorRenews = `
mkdir -p "$1"
cp "$2" "$1/cert.new"
cp "$3" "$1/key.new"
mv "$1/cert.new" "$1/cert.pem"
mv "$1/key.new" "$1/key.pem"
`
