package node

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Images is the table that stands for a registry: repository to program. Tags
// and digests are not looked at.
type Images map[string]string

// Set reads REPOSITORY=PROGRAM, so that Images is a flag.Value.
func (images Images) Set(text string) error {
	repository, program, found := strings.Cut(text, "=")
	if !found || repository == "" || !filepath.IsAbs(program) {
		return fmt.Errorf("%q: expected REPOSITORY=/absolute/path/of/program", text)
	}
	images[repository] = program
	return nil
}

func (images Images) String() string {
	return fmt.Sprint(map[string]string(images))
}

// Program is the file that an image's reference stands for.
func (images Images) Program(reference string) (string, error) {
	repository, _, _ := strings.Cut(reference, "@")
	if colon := strings.LastIndex(repository, ":"); colon > strings.LastIndex(repository, "/") {
		repository = repository[:colon]
	}
	program, found := images[repository]
	if !found {
		return "", fmt.Errorf("image %s: no program stands for %s", reference, repository)
	}
	return program, nil
}
