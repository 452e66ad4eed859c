//! A scripted server for what a real agent cannot be made to do: nonsense, failures, silence, floods.
