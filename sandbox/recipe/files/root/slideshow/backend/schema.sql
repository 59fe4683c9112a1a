CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY,
  job_type TEXT NOT NULL DEFAULT 'single',
  status TEXT NOT NULL DEFAULT 'pending',
  total_links INTEGER DEFAULT 0,
  completed_links INTEGER DEFAULT 0,
  failed_links INTEGER DEFAULT 0,
  folder_name TEXT,
  error_message TEXT,
  celery_task_id TEXT,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  started_at TIMESTAMP,
  completed_at TIMESTAMP
);

CREATE TABLE IF NOT EXISTS batches (
  id TEXT PRIMARY KEY,
  status TEXT NOT NULL DEFAULT 'pending',
  total_links INTEGER DEFAULT 0,
  job_id TEXT,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  started_at TIMESTAMP,
  completed_at TIMESTAMP,
  error_message TEXT
);

CREATE TABLE IF NOT EXISTS batch_links (
  id TEXT PRIMARY KEY,
  batch_id TEXT NOT NULL,
  link_index INTEGER NOT NULL,
  link_url TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending',
  error_message TEXT,
  celery_task_id TEXT,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  started_at TIMESTAMP,
  completed_at TIMESTAMP,
  FOREIGN KEY (batch_id) REFERENCES batches (id)
);

CREATE TABLE IF NOT EXISTS batch_variations (
  id TEXT PRIMARY KEY,
  batch_link_id TEXT NOT NULL,
  variation_num INTEGER NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending',
  celery_task_id TEXT,
  error_message TEXT,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  started_at TIMESTAMP,
  completed_at TIMESTAMP,
  FOREIGN KEY (batch_link_id) REFERENCES batch_links (id)
);

CREATE TABLE IF NOT EXISTS video_jobs (
  id TEXT PRIMARY KEY,
  job_type TEXT NOT NULL DEFAULT 'video',
  status TEXT NOT NULL DEFAULT 'pending',
  error_message TEXT,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  started_at TIMESTAMP,
  completed_at TIMESTAMP
);

CREATE INDEX IF NOT EXISTS batch_links_of_batch ON batch_links (batch_id);
CREATE INDEX IF NOT EXISTS batch_variations_of_link ON batch_variations (batch_link_id);
