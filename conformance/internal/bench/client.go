package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// answerTime is how long an answer may take, its connection included.
const answerTime = 5 * time.Second

// answer is what a request came back with.
type answer struct {
	status int
	// rule is the mark of the rule that has served it, pod the backend's name.
	rule, pod string
}

// errUnanswered says that a kept connection was closed before anything came
// back: the one case in which every client asks again.
var errUnanswered = errors.New("the connection was closed before an answer")

// client is one HTTP/1.1 connection that is kept and opened anew when it has
// ended. It is lean, because it shares the machine with what it measures.
type client struct {
	address    string
	connection net.Conn
	reader     *bufio.Reader
	request    []byte
	// retries counts requests that were sent again on a new connection.
	retries int
}

func newClient(address string) *client { return &client{address: address} }

func (c *client) close() {
	if c.connection != nil {
		_ = c.connection.Close()
		c.connection = nil
	}
}

// ask sends a GET and reads the answer; on a new connection if the kept one was
// closed meanwhile.
func (c *client) ask(t target) (answer, error) {
	kept := c.connection != nil
	got, err := c.try(t)
	if kept && errors.Is(err, errUnanswered) {
		c.retries++
		got, err = c.try(t)
	}
	return got, err
}

func (c *client) try(t target) (answer, error) {
	if c.connection == nil {
		connection, err := net.DialTimeout("tcp", c.address, answerTime)
		if err != nil {
			return answer{}, err
		}
		c.connection, c.reader = connection, bufio.NewReader(connection)
	}
	got, keep, err := c.exchange(t)
	if err != nil || !keep {
		c.close()
	}
	return got, err
}

func (c *client) exchange(t target) (got answer, keep bool, err error) {
	if err := c.connection.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return got, false, err
	}
	c.request = append(c.request[:0], "GET "...)
	c.request = append(append(c.request, t.path...), " HTTP/1.1\r\nhost: "...)
	c.request = append(append(c.request, t.host...), "\r\n"...)
	if t.tenant != "" {
		c.request = append(append(append(c.request, "x-tenant: "...), t.tenant...), "\r\n"...)
	}
	c.request = append(c.request, "\r\n"...)
	if _, err := c.connection.Write(c.request); err != nil {
		return got, false, fmt.Errorf("%w: %w", errUnanswered, err)
	}
	return readAnswer(c.reader)
}

// readAnswer reads a head and a body of a known length.
func readAnswer(reader *bufio.Reader) (got answer, keep bool, err error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		var late net.Error
		if len(line) == 0 && !(errors.As(err, &late) && late.Timeout()) {
			err = fmt.Errorf("%w: %w", errUnanswered, err)
		}
		return got, false, err
	}
	if len(line) < 12 {
		return got, false, fmt.Errorf("status line %q", line)
	}
	if got.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return got, false, fmt.Errorf("status line %q", line)
	}
	length, keep := 0, true
	for {
		if line, err = reader.ReadSlice('\n'); err != nil {
			return got, false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(bytes.ToLower(name)) {
		case "content-length":
			if length, err = strconv.Atoi(string(value)); err != nil {
				return got, false, err
			}
		case "transfer-encoding":
			return got, false, errors.New("a body of unknown length")
		case "connection":
			keep = !bytes.EqualFold(value, []byte("close"))
		case "x-rule":
			got.rule = string(value)
		case "x-pod":
			got.pod = string(value)
		}
	}
	_, err = io.CopyN(io.Discard, reader, int64(length))
	return got, keep, err
}
