package natsdriver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
)

// selfSigned writes a certificate for this machine that signs itself, and its key.
func selfSigned(t *testing.T, until time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "nats"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: bare},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTLS: a server whose certificate is not trusted, or has expired, is refused
// soon, and with words that say why.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t, time.Now().Add(time.Hour))
	old, oldKey := selfSigned(t, time.Now().Add(-time.Hour))
	secure := func(cert, key string) *brokertest.Server {
		return brokertest.NATS(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q }", cert, key))
	}
	good, expired := secure(cert, key), secure(old, oldKey)
	for name, test := range map[string]struct {
		server *brokertest.Server
		ca     string
		says   string // empty: it works
	}{
		"trusted":         {server: good, ca: cert},
		"another CA":      {server: good, ca: old, says: "certificate"},
		"the system's CA": {server: good, says: "unknown authority"},
		"expired":         {server: expired, ca: old, says: "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			d, err := Open(t.Context(), Options{
				URL: strings.Replace(test.server.URL, "nats://", "tls://", 1), TLS: TLS{CA: test.ca},
				ConnectTimeout: value.Duration(2 * time.Second),
			})
			if err == nil {
				defer func() { _ = d.Close(context.WithoutCancel(t.Context())) }()
			}
			switch {
			case test.says == "" && err != nil:
				t.Error(err)
			case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)):
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
			if took := time.Since(began); took > 20*time.Second { // 10 s, on a machine that has nothing else to do
				t.Errorf("it took %v", took)
			}
		})
	}
}
