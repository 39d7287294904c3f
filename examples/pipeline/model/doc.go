// Package model asks a language model behind any API that speaks OpenAI's chat
// completions. Its errors say what a handler should do with its message: reject
// it, try again after what the server asked for, or try again by policy.
package model
