"""What people say when they state something for good: tables of cues, a language or a family of them each."""
