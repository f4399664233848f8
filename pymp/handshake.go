package pymp

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// The handshake: each side sends a challenge, and the other one answers with its HMAC under the key. Who
// listens challenges first.
//
// Up to Python 3.11 a challenge has 20 random bytes and its answer is the bare HMAC-MD5. From 3.12
// the challenge begins with "{sha256}" and the answer with the name of a digest. An old peer answers
// a new challenge in the old way, with the MD5 of all of it, prefix included; and its own challenges
// are known by their length. So one challenge does for all.
const (
	challengeMark = "#CHALLENGE#"
	welcome       = "#WELCOME#"
	failure       = "#FAILURE#"

	challengePrefix  = "{sha256}"
	challengeRandom  = 40
	oldChallenge     = 20
	maxHandshakeSize = 256
)

type role bool

const (
	client role = false
	server role = true
)

// digests are those that Python allows. crypto/md5 serves as Python's old peers need it; HMAC-MD5 is not
// broken as MD5 is.
var digests = map[string]func() hash.Hash{
	"md5":      md5.New,
	"sha256":   sha256.New,
	"sha384":   sha512.New384,
	"sha3_256": func() hash.Hash { return sha3.New256() },
	"sha3_384": func() hash.Hash { return sha3.New384() },
}

func mac(digest string, key, message []byte) []byte {
	h := hmac.New(digests[digest], key)
	h.Write(message)
	return h.Sum(nil)
}

var errHandshakeTimeout = errors.New("the handshake took too long")

// handshake runs both halves, within its time.
func (c *Conn) handshake(ctx context.Context, r role) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.HandshakeTimeout,
		fmt.Errorf("%w (%v): %w", errHandshakeTimeout, c.opts.HandshakeTimeout, context.DeadlineExceeded))
	defer cancel()
	halves := []func(context.Context) error{c.deliverChallenge, c.answerChallenge}
	if r == client {
		halves[0], halves[1] = halves[1], halves[0]
	}
	for _, half := range halves {
		err := half(ctx)
		switch {
		case err == nil:
		case err == io.EOF:
			return fmt.Errorf("%w: the other side hung up in the handshake (another key, or none?)", ErrAuth)
		case errors.Is(err, errs.ErrTooLarge):
			return fmt.Errorf("%w: handshake: %w", ErrProtocol, err)
		default:
			return fmt.Errorf("handshake: %w", err)
		}
	}
	return nil
}

func (c *Conn) deliverChallenge(ctx context.Context) error {
	message := append([]byte(challengePrefix), make([]byte, challengeRandom)...)
	rand.Read(message[len(challengePrefix):]) // never fails
	if err := c.SendBytes(ctx, append([]byte(challengeMark), message...)); err != nil {
		return err
	}
	answer, err := c.recvMax(ctx, maxHandshakeSize)
	if err != nil {
		return err
	}
	if err := verify(c.opts.AuthKey, message, answer, c.opts.NoMD5); err != nil {
		// Told, so that the other side can say why; that it does not listen any more is no news.
		return errors.Join(err, ignoreGone(c.SendBytes(ctx, []byte(failure))))
	}
	return c.SendBytes(ctx, []byte(welcome))
}

func ignoreGone(err error) error {
	if errors.Is(err, errs.ErrPeerGone) {
		return nil
	}
	return err
}

// verify checks the answer to our challenge.
func verify(key, message, answer []byte, noMD5 bool) error {
	digest, sum := "md5", answer
	if len(answer) != md5.Size {
		var ok bool
		if digest, sum, ok = splitDigest(answer); !ok {
			return fmt.Errorf("%w: an answer of %d bytes in the handshake that names no digest", ErrProtocol, len(answer))
		}
	}
	if digest == "md5" && noMD5 {
		return fmt.Errorf("%w: the peer answers with HMAC-MD5, which Options.NoMD5 refuses", ErrAuth)
	}
	if !hmac.Equal(mac(digest, key, message), sum) {
		return fmt.Errorf("%w: the other side has another key", ErrAuth)
	}
	return nil
}

func (c *Conn) answerChallenge(ctx context.Context) error {
	p, err := c.recvMax(ctx, maxHandshakeSize)
	if err != nil {
		return err
	}
	message, ok := bytes.CutPrefix(p, []byte(challengeMark))
	if !ok {
		return fmt.Errorf("%w: it begins with %.20q, not with a challenge (has the other side a key?)", ErrProtocol, p)
	}
	answer, err := answerTo(c.opts.AuthKey, message, c.opts.NoMD5)
	if err != nil {
		return err
	}
	if err := c.SendBytes(ctx, answer); err != nil {
		return err
	}
	verdict, err := c.recvMax(ctx, maxHandshakeSize)
	switch {
	case err != nil:
		return err
	case string(verdict) == failure:
		return fmt.Errorf("%w: the other side says that our key is another one", ErrAuth)
	case string(verdict) != welcome:
		return fmt.Errorf("%w: %.20q instead of a welcome", ErrProtocol, verdict)
	}
	return nil
}

// answerTo is the answer to a challenge of any version.
func answerTo(key, message []byte, noMD5 bool) ([]byte, error) {
	if len(message) == oldChallenge {
		if noMD5 {
			return nil, fmt.Errorf("%w: the peer asks for HMAC-MD5, which Options.NoMD5 refuses", ErrAuth)
		}
		return mac("md5", key, message), nil
	}
	digest, payload, ok := splitDigest(message)
	if !ok || len(message) < oldChallenge || len(payload) == 0 {
		return nil, fmt.Errorf("%w: a challenge of %d bytes that names no digest known here", ErrProtocol, len(message))
	}
	if digest == "md5" && noMD5 {
		return nil, fmt.Errorf("%w: the peer asks for HMAC-MD5, which Options.NoMD5 refuses", ErrAuth)
	}
	return append([]byte("{"+digest+"}"), mac(digest, key, message)...), nil
}

// splitDigest reads "{digest}rest".
func splitDigest(p []byte) (digest string, rest []byte, ok bool) {
	head, rest, ok := bytes.Cut(p, []byte{'}'})
	if !ok || len(head) == 0 || head[0] != '{' {
		return "", nil, false
	}
	digest = string(head[1:])
	_, ok = digests[digest]
	return digest, rest, ok
}
