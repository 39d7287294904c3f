package brokertest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

const kafkaVersion = "4.3.1"

// kafkaKind runs Kafka from its Maven artifacts, broker and controller in one
// Java process.
type kafkaKind struct{}

var _ kind = kafkaKind{}

func (kafkaKind) name() string                       { return "kafka" }
func (kafkaKind) version() string                    { return kafkaVersion }
func (kafkaKind) ports() int                         { return 2 }
func (kafkaKind) url(addr string, _ []string) string { return addr }

// install gives the folder of the jars.
func (kafkaKind) install(ctx context.Context, logf logFunc, cache string) (string, error) {
	if err := needTool(ctx, logf, cache, "java", "default-jre-headless"); err != nil {
		return "", err
	}
	libs := filepath.Join(cache, "kafka-"+kafkaVersion)
	err := installOnce(libs, func(temporary string) error {
		if err := needTool(ctx, logf, cache, "mvn", "maven"); err != nil {
			return err
		}
		logf("brokertest: loading the jars of Kafka %s, 44 MB", kafkaVersion)
		return loadJars(ctx, temporary)
	})
	if err != nil {
		return "", fmt.Errorf("install Kafka %s: %w", kafkaVersion, err)
	}
	return libs, nil
}

// needTool makes sure that a program is there, if need be by the system's
// package manager where that needs no questions.
func needTool(ctx context.Context, logf logFunc, cache, program, debianPackage string) error {
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Getuid() != 0 {
		return fmt.Errorf("Kafka needs %s, which is not in PATH: install it (Debian: apt-get install %s; Java 17 or newer), "+
			"name a running Kafka in ANYWIRE_TEST_KAFKA, or leave it out with ANYWIRE_TEST_SKIP=kafka", program, debianPackage)
	}
	unlock, err := lockPath(filepath.Join(cache, "apt.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	logf("brokertest: installing the Debian package %s", debianPackage)
	if _, err := run(ctx, "", "apt-get", "-q", "update"); err != nil {
		return err
	}
	_, err = run(ctx, "", "env", "DEBIAN_FRONTEND=noninteractive",
		"apt-get", "-q", "-y", "install", "--no-install-recommends", debianPackage)
	return err
}

// kafkaPOM asks Maven for the server and for a logger that writes to stderr.
const kafkaPOM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>anywire</groupId><artifactId>brokertest</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>` + kafkaVersion + `</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
  <build><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>3.8.1</version>
  </plugin></plugins></build>
</project>
`

func loadJars(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the folder of jars: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(kafkaPOM), 0o600); err != nil {
		return fmt.Errorf("write the list of jars: %w", err)
	}
	_, err := run(ctx, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=.")
	return err
}

func (kafkaKind) setUp(ctx context.Context, install, dir string, ports []int, extra []string) (command, error) {
	properties := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(properties, []byte(kafkaProperties(dir, ports, extra)), 0o600); err != nil {
		return command{}, fmt.Errorf("configure: %w", err)
	}
	jars := filepath.Join(install, "*")
	_, err := run(ctx, dir, "java", append(javaFlags(), "-cp", jars,
		"kafka.tools.StorageTool", "format", "-t", clusterID(), "-c", properties)...)
	if err != nil {
		return command{}, fmt.Errorf("format its store: %w", err)
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return command{}, fmt.Errorf("find java: %w", err)
	}
	args := append(javaFlags(), "-Xmx768m", "-cp", jars, "kafka.Kafka", properties)
	return command{path: java, args: args, dir: dir}, nil
}

// javaFlags favour a quick start over speed later.
func javaFlags() []string {
	return []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.showDateTime=true"}
}

// clusterID is 16 random bytes; the leading letter keeps it from looking like
// a flag.
func clusterID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x3f
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// kafkaProperties is a cluster of one. A member that is killed holds its
// partitions for the session timeout of its group: 45 s by default, and never
// less than the broker's minimum. A broker that is killed may not come back
// before its own session ended: 9 s by default.
func kafkaProperties(dir string, ports []int, extra []string) string {
	return fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[2]d
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%[3]s
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=6000
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=1000
num.network.threads=2
num.io.threads=4
%[4]s
`, ports[0], ports[1], filepath.ToSlash(filepath.Join(dir, "log")), strings.Join(extra, "\n"))
}

// probe asks for metadata, which a broker answers with itself only once the
// controller has let it in. The protocol does not tell the server's version.
func (kafkaKind) probe(ctx context.Context, _, addr string) (version string, err error) {
	conn, err := dial(ctx, addr) // the client below waits and retries; a closed port is a quick no
	if err != nil {
		return "", err
	}
	_ = conn.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return "", fmt.Errorf("make a client: %w", err)
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return "", fmt.Errorf("ask for metadata: %w", err)
	}
	if len(client.DiscoveredBrokers()) == 0 {
		return "", errors.New("it knows no broker yet")
	}
	return "", nil
}
