package bench

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPercentiles(t *testing.T) {
	require.Zero(t, spread(nil).percentile(50))
	require.Equal(t, 7*time.Millisecond, spread{7 * time.Millisecond}.percentile(99))
	var times spread
	for k := 200; k > 0; k-- {
		times = append(times, time.Duration(k)*time.Millisecond)
	}
	require.Equal(t, 100*time.Millisecond, times.percentile(50))
	require.Equal(t, 198*time.Millisecond, times.percentile(99))
	require.Equal(t, 200*time.Millisecond, times.percentile(100))
	require.Equal(t, 200*time.Millisecond, times[0], "the times keep their order")
}

func TestMostInASpan(t *testing.T) {
	begun := time.Now()
	var writes []write
	for _, at := range []int{2500, 0, 400, 1000, 1300} {
		writes = append(writes, write{At: begun.Add(time.Duration(at) * time.Millisecond)})
	}
	require.Equal(t, 3, mostIn(time.Second, writes), "0 and 1000 are not within a second, 400 to 1300 are")
	require.Equal(t, 1, mostIn(300*time.Millisecond, writes))
	require.Zero(t, mostIn(time.Second, nil))
}

const auditLines = `{"verb":"patch","user":{"username":"gateway"},"objectRef":{"resource":"httproutes","name":"a","subresource":"status"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-11-24T14:00:00.000001Z","stageTimestamp":"2026-11-24T14:00:00.000002Z"}
{"verb":"patch","user":{"username":"system:serviceaccount:gateway-system:gateway"},"objectRef":{"resource":"gateways","name":"g","subresource":"status"},"responseStatus":{"code":409}}
{"verb":"patch","user":{"username":"admin"},"objectRef":{"resource":"httproutes","name":"a"},"responseStatus":{"code":200}}
{"verb":"patch","user":{"username":"gateway"},"objectRef":{"resource":"httproutes","name":"a","subresource":"status"},`

func TestAuditLogIsReadAsItGrows(t *testing.T) {
	log := audit{path: filepath.Join(t.TempDir(), "audit.log")}
	require.NoError(t, os.WriteFile(log.path, []byte(auditLines), 0o600))
	writes, err := log.read()
	require.NoError(t, err)
	require.Len(t, writes, 3, "the last line is not complete")
	require.Equal(t, map[string]int{"a": 1}, perObject(writesOf(writes, write.ofRoute)))
	ofGateway := writesOf(writes, write.ofGateway)
	require.Len(t, ofGateway, 1)
	require.Equal(t, 409, ofGateway[0].Code)
	file, err := os.OpenFile(log.path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer file.Close()
	_, err = file.WriteString(`"responseStatus":{"code":200}}` + "\n")
	require.NoError(t, err)
	writes, err = log.read()
	require.NoError(t, err)
	require.Len(t, writes, 1)
	require.True(t, writes[0].ofRoute())
}

func TestReadAnswer(t *testing.T) {
	for text, want := range map[string]struct {
		got        answer
		keep       bool
		unanswered bool
		fails      bool
	}{
		"HTTP/1.1 200 OK\r\nX-Rule: r.1\r\nx-pod: p\r\nContent-Length: 2\r\n\r\nok": {got: answer{200, "r.1", "p"}, keep: true},
		"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n":  {got: answer{status: 404}},
		"":                              {fails: true, unanswered: true},
		"HTTP/1.1 200 OK\r\ncontent-le": {got: answer{status: 200}, fails: true},
		"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok":         {got: answer{status: 200}, keep: true, fails: true},
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0": {got: answer{status: 200}, fails: true},
		"HTTP/1.1 abc OK\r\n\r\n":                                {fails: true},
	} {
		got, keep, err := readAnswer(bufio.NewReader(strings.NewReader(text)))
		require.Equal(t, want.fails, err != nil, "%q: %v", text, err)
		require.Equal(t, want.got, got, text)
		require.Equal(t, want.keep, keep, text)
		require.Equal(t, want.unanswered, err != nil && strings.Contains(err.Error(), errUnanswered.Error()), text)
	}
}

func TestRolesOfProcesses(t *testing.T) {
	for line, role := range map[string]string{
		"/bin/gateway run --kubernetes --kubeconfig k":   "gateway",
		"/gateway run --kubernetes --shape=dedicated":    "controller",
		"/gateway run --config-from=https://c --bind=::": "data plane",
		"/gateway install": "",
		"/bench backend":   "",
	} {
		require.Equal(t, role, roleOf(strings.Fields(line)), line)
	}
}
