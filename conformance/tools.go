//go:build tools

// Package tools keeps the programs in go.mod that are built from their modules as they are.
package tools

import _ "sigs.k8s.io/gateway-api/conformance/echo-basic"
