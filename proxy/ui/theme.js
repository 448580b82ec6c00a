// Runs before anything is painted, so that a page in the dark does not begin with a flash of light.
try {
	const chosen = localStorage.getItem("memory-proxy.theme");
	if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
	// Storage is forbidden here: the system's colours hold.
}
